from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medgraph.data.classified import Classified
from medgraph.data.spec import ImageSpec
from medgraph.errors import DataError
from medgraph.evaluation.paired import paired_rows
from medgraph.evaluation.regression import RegressionScores


class Reader(nn.Module):
    """Takes the first pixel of an image as its number, and something more."""

    def __init__(self, more=0.0):
        super().__init__()
        self.more = more

    def predict(self, images):
        return images.flatten(1)[:, :1] + self.more


def data_of(predicted, truth, groups=None):
    images = torch.zeros(len(predicted), 1, 2, 2)
    images.flatten(1)[:, 0] = torch.tensor(predicted)
    test = Classified(images, torch.tensor(truth))
    if groups is not None:
        test.groups, test.names = torch.tensor(groups), ["first", "second", "third"]
    return SimpleNamespace(test=lambda: test, spec=ImageSpec(2, 1, (2, 2), 4, target="age, years"))


def test_by_hand_for_any_batch_size():
    data = data_of([1.0, 2.0, 5.0, 6.0], [2.0, 2.0, 4.0, 8.0])
    for batch_size in (1, 3, 100):
        scores = RegressionScores(batch_size).evaluate(Reader(), data)
        (row,) = scores.rows
        assert row == {"case": "test", "label": "age, years", "mae": 1.0, "r2": pytest.approx(1 - 6 / 24)}
    assert [case["mae"] for case in scores.per_case] == [1.0, 0.0, 1.0, 2.0]
    half = 3.182446 * (2 / 3) ** 0.5 / 2  # Student's t of 4 values; an error is not below 0
    assert scores.intervals()["mean mae"] == (0.0, pytest.approx(1 + half))
    assert scores.figures[0]["title"] == "Predicted and true age, years"


def test_a_volume_gets_the_mean_of_its_slices():
    data = data_of([1.0, 3.0, 5.0, 6.0], [2.0, 2.0, 4.0, 8.0], groups=[0, 0, 1, 2])
    scores = RegressionScores().evaluate(Reader(), data)
    assert [(case["case"], case["mae"]) for case in scores.per_case] == [
        ("first", 0.0),
        ("second", 1.0),
        ("third", 2.0),
    ]


def test_two_models_are_paired_over_cases():
    data = data_of([1.0, 2.0, 5.0, 6.0], [2.0, 2.0, 4.0, 8.0])
    exact, off = (RegressionScores().evaluate(Reader(more), data) for more in (0.0, 10.0))
    mae, r2 = paired_rows([exact, exact], [off, off])
    assert (mae["metric"], mae["over"], mae["chief"], mae["difference"]["n"]) == ("mae", "cases", True, 4)
    assert mae["difference"]["mean"] == pytest.approx(1.0 - 9.5)
    assert mae["seeds"] == [[1.0, pytest.approx(9.5)]] * 2
    assert r2["first"] == pytest.approx(0.75)


def test_equal_numbers_cannot_be_scored():
    with pytest.raises(DataError, match="the test part has 2 cases and one number"):
        RegressionScores().evaluate(Reader(), data_of([1.0, 2.0], [3.0, 3.0]))


def test_a_model_that_answers_with_no_number_is_refused():
    with pytest.raises(DataError, match="answers 4 of 4 test examples, the first number 0, with NaN or infinity"):
        RegressionScores().evaluate(Reader(more=float("nan")), data_of([1.0, 2.0, 5.0, 6.0], [2.0, 2.0, 4.0, 8.0]))
