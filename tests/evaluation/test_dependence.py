import numpy as np
import pytest

from medgraph.evaluation.dependence import dependence


def test_copied_features_depend_independent_ones_do_not():
    first, second = np.random.default_rng(0).normal(size=(2, 200, 2))
    copied, independent = dependence(first, 2 * first + 1, np.arange(200)), dependence(first, second, np.arange(200))
    assert copied.alignment == pytest.approx(1)
    assert copied.p_value == pytest.approx(1 / 201)
    assert independent.alignment < 0.1
    assert independent.p_value > 0.05
    assert independent.low <= independent.permuted <= independent.high


def test_constant_features_depend_on_nothing():
    found = dependence(np.ones((20, 2)), np.random.default_rng(0).normal(size=(20, 2)), np.arange(20))
    assert (found.alignment, found.p_value) == (0, 1)


def test_many_rows_are_thinned():
    rows = np.random.default_rng(0).normal(size=(2000, 1))
    found = dependence(rows, rows, np.arange(2000), permutations=5)
    assert (found.alignment, found.examples) == (pytest.approx(1), 500)


def test_alike_examples_of_one_subject_do_not_make_independent_features_dependent():
    subjects, p_values = np.repeat(np.arange(30), 16), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(2, 30, 2))[:, subjects] + 0.1 * rng.normal(size=(2, 480, 2))
        found = dependence(first, second, subjects, seed, permutations=100)
        assert found.examples == 30
        p_values.append(found.p_value)
    assert sum(p <= 0.05 for p in p_values) <= 3  # permuted singly, 20 of 20
    assert 0.3 < np.mean(p_values) < 0.7


def test_the_one_subject_there_is_tells_nothing():
    rows = np.random.default_rng(0).normal(size=(20, 2))
    found = dependence(rows, rows, np.zeros(20))
    assert (found.alignment, found.p_value, found.examples) == (0, 1, 1)
