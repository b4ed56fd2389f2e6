import numpy as np
import pytest

from medgraph.evaluation.dependence import dependence


def test_copied_features_depend_independent_ones_do_not():
    first, second = np.random.default_rng(0).normal(size=(2, 200, 2))
    copied, independent = dependence(first, 2 * first + 1), dependence(first, second)
    assert copied.alignment == pytest.approx(1)
    assert copied.p_value == pytest.approx(1 / 201)
    assert independent.alignment < 0.1
    assert independent.p_value > 0.05
    assert independent.low <= independent.permuted <= independent.high


def test_constant_features_depend_on_nothing():
    found = dependence(np.ones((20, 2)), np.random.default_rng(0).normal(size=(20, 2)))
    assert (found.alignment, found.p_value) == (0, 1)


def test_many_rows_are_thinned():
    rows = np.random.default_rng(0).normal(size=(2000, 1))
    assert dependence(rows, rows, permutations=5).alignment == pytest.approx(1)
