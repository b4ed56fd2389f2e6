import numpy as np
import pytest
from scipy import stats

from medgraph.evaluation.bootstrap import mean_interval, paired_difference, t_interval


def test_a_constant_difference_has_no_width():
    d = paired_difference([0.6, 0.8, 0.7], [0.5, 0.7, 0.6])
    assert (d.mean, d.low, d.high) == pytest.approx((0.1, 0.1, 0.1))
    assert d.n == 3


def test_the_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    d = paired_difference(values, np.zeros(400))
    half = 1.96 * values.std() / 20
    assert d.low == pytest.approx(values.mean() - half, abs=0.02)
    assert d.high == pytest.approx(values.mean() + half, abs=0.02)


def test_pairing_matters():
    a, b = [0.0, 1.0, 2.0, 3.0], [0.1, 1.1, 2.1, 3.1]
    assert paired_difference(a, b).high < 0
    assert paired_difference(a, b[::-1]).high > 0


def test_lengths_must_agree_and_there_must_be_a_pair():
    with pytest.raises(ValueError, match="expected the same length, got a: 1, b: 2"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="number of pairs: expected 1 or more, got 0"):
        paired_difference([], [])


@pytest.mark.parametrize(("n", "of_seeds"), [(3, False), (9, False), (3, True), (12, True)])
def test_few_pairs_and_seeds_have_a_t_interval(n, of_seeds):
    a, b = np.random.default_rng(n).normal(size=(2, n))
    d = paired_difference(a, b, of_seeds=of_seeds)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (d.low, d.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_ten_cases_are_drawn_again():
    values = np.random.default_rng(0).normal(size=10)
    d = paired_difference(values, np.zeros(10))
    assert (d.low, d.high) == mean_interval(values)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_pairs_have_no_interval(n):
    d = paired_difference([0.8, 0.9][:n], [0.7, 0.8][:n])
    assert (d.mean, d.low, d.high, d.n) == (pytest.approx(0.1), None, None, n)


def test_the_interval_of_equal_values_is_a_point():
    assert t_interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)
