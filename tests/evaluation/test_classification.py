from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medgraph.data.classified import Classified
from medgraph.data.spec import ImageSpec
from medgraph.errors import DataError
from medgraph.evaluation.classification import ClassificationScores


class Reader(nn.Module):
    """Takes the first pixels of an image as its logits."""

    def predict(self, images):
        return images.flatten(1)[:, : self.classes]


def scores(logits, labels, classes, batch_size=2):
    images = torch.zeros(len(logits), 1, 2, 2)
    images.flatten(1)[:, : logits.shape[1]] = logits
    reader = Reader()
    reader.classes = classes
    test = Classified(images, torch.tensor(labels))
    data = SimpleNamespace(test=lambda: test, spec=ImageSpec(2, 1, (2, 2), 4, tuple("abcd"[:classes])))
    (row,) = ClassificationScores(batch_size).evaluate(reader, data).rows
    return row


def test_two_classes_by_hand():
    logits = torch.tensor([[0.0, -1.0], [0.0, 0.5], [0.0, 0.2], [0.0, 2.0]])
    row = scores(logits, [0, 0, 1, 1], 2)
    assert row["auc"] == pytest.approx(3 / 4)  # of four pairs, one stands wrong
    assert row["balanced_accuracy"] == row["accuracy"] == pytest.approx(3 / 4)


def test_accuracy_counts_examples_and_balanced_accuracy_classes():
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.5]])
    row = scores(logits, [0, 0, 0, 1], 2)
    assert (row["accuracy"], row["balanced_accuracy"]) == (0.75, 0.5)


def test_more_classes_and_any_batch_size(rng):
    logits = torch.randn(9, 3, generator=rng)
    labels = [0, 1, 2] * 3
    one, all_ = scores(logits, labels, 3, 1), scores(logits, labels, 3, 100)
    assert one["auc"] == pytest.approx(all_["auc"])
    assert one["balanced_accuracy"] == pytest.approx(all_["balanced_accuracy"])
    right = scores(torch.eye(3)[labels] * 4, labels, 3)
    assert (right["auc"], right["balanced_accuracy"]) == (1.0, 1.0)


def test_a_volume_gets_the_mean_probability_of_its_slices():
    logits = torch.tensor([[0.0, 4.0], [0.0, -1.0], [1.0, 0.0], [3.0, 0.0]])
    images = torch.zeros(4, 1, 2, 2)
    images.flatten(1)[:, :2] = logits
    test = Classified(images, torch.tensor([1, 1, 0, 0]))
    test.groups = torch.tensor([0, 0, 1, 1])
    reader = Reader()
    reader.classes = 2
    data = SimpleNamespace(test=lambda: test, spec=ImageSpec(2, 1, (2, 2), 4, ("a", "b")))
    found = ClassificationScores().evaluate(reader, data)
    assert found.rows[0]["balanced_accuracy"] == 1  # the second slice alone would be wrong
    assert len(found.per_case) == 2


def test_a_class_without_example_is_named():
    with pytest.raises(DataError, match="the test part has no example of b"):
        scores(torch.zeros(2, 2), [0, 0], 2)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_model_that_answers_with_no_number_is_refused(value):
    logits = torch.tensor([[0.0, -1.0], [0.0, 0.5], [value, 0.2], [0.0, 2.0]])
    with pytest.raises(DataError, match="answers 1 of 4 test examples, the first number 2, with NaN or infinity"):
        scores(logits, [0, 0, 1, 1], 2)


def test_a_class_may_be_ruled_out():
    logits = torch.tensor([[0.0, -torch.inf], [0.0, 0.5], [0.0, 0.2], [0.0, 2.0]])
    assert scores(logits, [0, 0, 1, 1], 2)["auc"] == pytest.approx(3 / 4)
