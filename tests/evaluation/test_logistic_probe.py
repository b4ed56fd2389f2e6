from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn

from medgraph.data.classified import Classified
from medgraph.data.spec import ImageSpec
from medgraph.errors import ConfigError, DataError
from medgraph.evaluation.frozen import frozen_features
from medgraph.evaluation.logistic_probe import LogisticProbe
from medgraph.nn.encoders import ResNetEncoder


class Means(nn.Module):
    """The mean of each of three channels."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


def of(train, test, classes=2):
    spec = SimpleNamespace(classes=tuple(f"class {number}" for number in range(classes)))
    return SimpleNamespace(train=lambda: train, test=lambda: test, spec=spec)


def made(rng, classes=2):
    def part(count):
        labels = torch.arange(count) % classes
        images = torch.rand(count, 3, 4, 4, generator=rng) + 0.15 * (labels % 3)[:, None, None, None]
        return Classified(images, labels)

    train, test = part(60), part(30)
    return of(train, test, classes)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_a_logistic_regression_on_standardised_features(classes, rng):
    data = made(rng, classes)
    row = LogisticProbe(penalty_weight=0.5, batch_size=7).evaluate(SimpleNamespace(encoder=Means()), data).rows[0]
    x, z = (p.__getitems__(range(len(p))).images.mean(dim=(2, 3)).double().numpy() for p in (data.train(), data.test()))
    mean, std = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(C=2.0, max_iter=2000).fit((x - mean) / std, data.train().labels)
    given, truth = model.predict_proba((z - mean) / std), data.test().labels.numpy()
    scores = given[:, 1] if classes == 2 else given
    assert row["auc"] == pytest.approx(roc_auc_score(truth, scores, multi_class="ovr"), abs=1e-6)
    assert row["accuracy"] == pytest.approx((given.argmax(axis=1) == truth).mean())
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, given.argmax(axis=1)))


def test_classes_can_weigh_the_same(rng):
    images = torch.rand(44, 3, 4, 4, generator=rng)
    part = Classified(images, (torch.arange(44) % 11 == 0).long())
    data = of(part, part)
    rare = [
        LogisticProbe(balanced=balanced).evaluate(SimpleNamespace(encoder=Means()), data).rows[0]["balanced_accuracy"]
        for balanced in (False, True)
    ]
    assert rare[0] == 0.5  # the rare class is never said
    assert rare[1] > 0.55


def test_a_class_that_training_lacks_is_never_said_and_shifts_no_other():
    labels = torch.arange(60) % 3
    images = 0.3 * labels[:, None, None, None].expand(60, 3, 4, 4) + 0.0
    train, test = Classified(images, labels, np.flatnonzero(labels != 1)), Classified(images, labels)
    row = LogisticProbe().evaluate(SimpleNamespace(encoder=Means()), of(train, test, 3)).rows[0]
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["balanced_accuracy"] == pytest.approx(2 / 3)
    assert row["auc"] == pytest.approx((1 + 0.5 + 1) / 3)  # of the lacking class, nothing is known


def test_a_volume_gets_the_mean_of_its_slices_and_is_one_case(rng):
    data = made(rng)
    for part in (data.train(), data.test()):
        part.groups = torch.arange(len(part)) // 6 * 2 + part.labels  # three slices of each volume
    data.test().names = [f"volume {number}" for number in range(10)]
    scores = LogisticProbe().evaluate(SimpleNamespace(encoder=Means()), data)
    assert [row["case"] for row in scores.per_case] == data.test().names
    x, z = (p.__getitems__(range(len(p))).images.mean(dim=(2, 3)).double().numpy() for p in (data.train(), data.test()))
    mean, std = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(max_iter=2000).fit((x - mean) / std, data.train().labels)
    given = model.predict_proba((z - mean) / std)
    groups = data.test().groups.numpy()
    merged = np.stack([given[groups == group].mean(axis=0) for group in range(10)])
    truth = np.arange(10) % 2
    assert scores.rows[0]["auc"] == pytest.approx(roc_auc_score(truth, merged[:, 1]), abs=1e-6)
    assert scores.rows[0]["accuracy"] == pytest.approx((merged.argmax(axis=1) == truth).mean())


def test_one_class_to_train_on_is_refused(rng):
    data = made(rng)
    data.train().labels[:] = 1
    with pytest.raises(DataError, match="all 60 training examples are 'class 1', expected at least two classes"):
        LogisticProbe().evaluate(SimpleNamespace(encoder=Means()), data)


def test_a_class_that_the_test_part_lacks_is_refused(rng):
    data = made(rng)
    with pytest.raises(DataError, match="the test part has no example of class 2, expected some of each class"):
        LogisticProbe().evaluate(SimpleNamespace(encoder=Means()), of(data.train(), data.test(), 3))


def test_the_encoder_is_left_in_eval_mode_and_cases_are_told(rng):
    model = SimpleNamespace(encoder=Means().train())
    scores = LogisticProbe().evaluate(model, made(rng))
    assert not model.encoder.training
    assert len(scores.units()) == 30


def test_of_a_volume_encoder_single_images_take_the_slice_encoder(rng):
    encoder = nn.Module()
    encoder.takes_stacks, encoder.slice_encoder = True, Means()
    data = made(rng)
    inner, alone = (LogisticProbe().evaluate(SimpleNamespace(encoder=e), data).rows for e in (encoder, Means()))
    assert inner == alone


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_are_read_in_cells(dims, rng):
    """Which half of an image is bright is lost in the mean of all its points, and in none of its cells."""
    labels = torch.arange(24) % 2
    images = torch.rand(24, 1, *(32,) * dims, generator=rng)
    images[labels == 1, :, :16] += 0.5
    images[labels == 0, :, 16:] += 0.5
    part = Classified(images, labels)
    encoder = ResNetEncoder(ImageSpec(dims, 1, (32,) * dims, 24), depth=10, width=4)
    expected = []
    for each in encoder.eval().pyramid(images):
        cells = [each.narrow(2, 0, each.shape[2] // 2), each.narrow(2, each.shape[2] // 2, each.shape[2] // 2)]
        for axis in range(3, 2 + dims):
            size = each.shape[axis] // 2
            cells = [cell.narrow(axis, start, size) for cell in cells for start in (0, size)]
        expected.append(torch.stack([cell.flatten(2).mean(2) for cell in cells], dim=2).flatten(1))
    found = frozen_features(encoder, part, 7, "cpu", 2)
    np.testing.assert_allclose(found, torch.cat(expected, dim=1).detach().numpy(), atol=1e-5)
    one = frozen_features(encoder, part, 24, "cpu", 1)
    width = encoder.out_dim
    np.testing.assert_allclose(one[:, -width:], frozen_features(encoder, part, 24, "cpu"), atol=1e-5)
    assert frozen_features(encoder, part, 24, "cpu", 99).shape[1] == sum(m[0].numel() for m in encoder.pyramid(images))
    row = LogisticProbe(cells=2).evaluate(SimpleNamespace(encoder=encoder), of(part, part)).rows[0]
    assert row["accuracy"] == 1


def test_cells_of_an_encoder_without_maps_are_refused(rng):
    with pytest.raises(ConfigError, match=r"evaluator.cells: Means gives one vector .* expected 0"):
        LogisticProbe(cells=2).evaluate(SimpleNamespace(encoder=Means()), made(rng))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cells": -1}, "cells: expected 0 or more"),
        ({"penalty_weight": 0.0}, "penalty_weight: expected a number above 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more"),
        ({"max_iterations": 0}, "max_iterations: expected 1 or more"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        LogisticProbe(**arguments)
