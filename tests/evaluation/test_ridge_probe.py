from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medgraph.data.classified import Classified
from medgraph.errors import DataError
from medgraph.evaluation.ridge_probe import RidgeProbe


class Means(nn.Module):
    """The mean of each of three channels."""

    def forward(self, x):
        return x.mean(dim=(2, 3))


def made(rng, target="volume, ml", noise=0.02):
    def part(count):
        images = torch.rand(count, 3, 4, 4, generator=rng)
        numbers = images.mean(dim=(2, 3)) @ torch.tensor([5.0, -3.0, 1.0])
        return Classified(images, numbers + noise * torch.randn(count, generator=rng))

    train, test = part(50), part(20)
    return SimpleNamespace(train=lambda: train, test=lambda: test, spec=SimpleNamespace(target=target))


@pytest.mark.parametrize("weight", [0.5, 20.0])
def test_it_is_the_ridge_regression_of_the_normal_equations(weight, rng):
    data = made(rng)
    scores = RidgeProbe((weight,), batch_size=7).evaluate(SimpleNamespace(encoder=Means().train()), data)
    x, z = (p.__getitems__(range(len(p))).images.mean(dim=(2, 3)).double().numpy() for p in (data.train(), data.test()))
    y, truth = (p.labels.double().numpy() for p in (data.train(), data.test()))
    scaled, new = (x - x.mean(axis=0)) / x.std(axis=0), (z - x.mean(axis=0)) / x.std(axis=0)
    slopes = np.linalg.solve(scaled.T @ scaled + weight * np.eye(3), scaled.T @ (y - y.mean()))
    predicted = new @ slopes + y.mean()
    (row,) = scores.rows
    assert row["label"] == "volume, ml"
    assert row["mae"] == pytest.approx(np.abs(truth - predicted).mean())
    assert row["r2"] == pytest.approx(1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean()).sum())
    assert len(scores.units()) == 20


def test_the_penalty_is_chosen_on_the_training_part(rng):
    data = made(rng)
    best, chosen, worst = (
        RidgeProbe(weights).evaluate(SimpleNamespace(encoder=Means()), data).rows[0]["r2"]
        for weights in ((1e-3,), (1e-3, 1e4), (1e4,))
    )
    assert chosen == best > worst + 0.5


class Sliced(Classified):
    """Slices of volumes, three of each, with the number of their volume."""

    def __init__(self, images, labels, names):
        super().__init__(images, labels.repeat_interleave(3))
        self.groups, self.names = torch.arange(len(labels)).repeat_interleave(3), names


def test_a_volume_gets_the_mean_of_its_slices_and_is_one_case(rng):
    labels = torch.rand(12, generator=rng)
    images = labels.repeat_interleave(3)[:, None, None, None] + 0.3 * torch.rand(36, 3, 4, 4, generator=rng)
    part = Sliced(images, labels, [f"volume {number}" for number in range(12)])
    data = SimpleNamespace(train=lambda: part, test=lambda: part, spec=SimpleNamespace(target="age"))
    scores = RidgeProbe((0.5,)).evaluate(SimpleNamespace(encoder=Means()), data)
    x, y = images.mean(dim=(2, 3)).double().numpy(), part.labels.double().numpy()
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    slopes = np.linalg.solve(scaled.T @ scaled + 0.5 * np.eye(3), scaled.T @ (y - y.mean()))
    predicted = (scaled @ slopes + y.mean()).reshape(12, 3).mean(axis=1)
    assert scores.rows[0]["mae"] == pytest.approx(np.abs(predicted - labels.numpy()).mean())
    assert [row["case"] for row in scores.per_case] == part.names
    assert np.mean([row["mae"] for row in scores.per_case]) == pytest.approx(scores.rows[0]["mae"])


def test_features_that_are_not_finite_are_told(rng):
    data = made(rng)
    data.test()._images[4] = torch.nan
    with pytest.raises(DataError, match="encoder: gives 1 of 20 examples, the first number 4, features of NaN or"):
        RidgeProbe().evaluate(SimpleNamespace(encoder=Means()), data)


def test_data_without_a_number_are_refused(rng):
    with pytest.raises(DataError, match="ridge_probe: the data name no number of each example"):
        RidgeProbe().evaluate(SimpleNamespace(encoder=Means()), made(rng, target=""))


def test_one_number_to_test_on_is_refused(rng):
    data = made(rng)
    data.test().labels[:] = 3.0
    with pytest.raises(DataError, match="the test part has 20 cases and one number"):
        RidgeProbe().evaluate(SimpleNamespace(encoder=Means()), data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"penalty_weights": (1.0, 0.0)}, "penalty_weights: expected a number above 0"),
        ({"penalty_weights": ()}, "penalty_weights: length: expected 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        RidgeProbe(**arguments)
