import numpy as np
import pytest

from medgraph.evaluation.bootstrap import paired_difference


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
