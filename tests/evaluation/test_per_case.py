"""The mean over cases is the figure as scikit-learn has it; the spread is that of drawing the cases again."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from medgraph.evaluation import per_case


def two_classes(rng):
    labels = (np.arange(60) % 3 == 0).astype(int)
    return labels, np.round(rng.normal(size=60) + labels, 1)  # rounded: ties


def three_classes(rng):
    labels = np.arange(60) % 3
    return labels, rng.dirichlet([1, 1, 1], 60)


def numbers(rng):
    values = rng.normal(size=60)
    return values, values + rng.normal(size=60)


def accuracy(labels, probabilities):
    return balanced_accuracy_score(labels, probabilities.argmax(axis=1))


CASES = {
    "auc": (two_classes, per_case.auc, roc_auc_score),
    "mean_auc": (three_classes, per_case.mean_auc, lambda y, p: roc_auc_score(y, p, multi_class="ovr")),
    "balanced": (three_classes, lambda y, p: per_case.balanced_accuracy(y, p.argmax(axis=1)), accuracy),
    "r_squared": (numbers, per_case.r_squared, r2_score),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mean_is_the_figure(name):
    make, ours, theirs = CASES[name]
    data = make(np.random.default_rng(0))
    assert ours(*data).mean() == pytest.approx(theirs(*data), abs=1e-12)
    assert len(ours(*data)) == 60


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_spread_is_that_of_drawing_again(name):
    make, ours, theirs = CASES[name]
    rng = np.random.default_rng(0)
    spreads, figures = [], []
    for _ in range(300):  # new data each time: the true spread of the figure
        data = make(rng)
        spreads.append(ours(*data).std() / 60**0.5)
        figures.append(theirs(*data))
    assert np.mean(spreads) == pytest.approx(np.std(figures), rel=0.15)


def test_two_columns_are_the_area_of_the_second():
    labels, scores = two_classes(np.random.default_rng(1))
    probabilities = np.stack([1 - scores, scores], axis=1)
    np.testing.assert_array_equal(per_case.mean_auc(labels, probabilities), per_case.auc(labels, scores))
