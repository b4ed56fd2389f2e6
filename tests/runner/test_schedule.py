import pytest

from medgraph.runner.schedule import Constant, Cosine


def test_cosine_rises_to_one_and_ends_at_its_final_fraction():
    factors = [Cosine(warmup_fraction=0.1, final_fraction=0.2).factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.2)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_fall_is_half_a_cosine():
    factors = [Cosine(warmup_fraction=0.5, final_fraction=0.2).factor(step, 10) for step in range(5, 10)]
    assert factors == pytest.approx([1, 0.2 + 0.4 * (1 + 0.5**0.5), 0.6, 0.2 + 0.4 * (1 - 0.5**0.5), 0.2])


def test_constant_stays_at_one_after_warm_up():
    assert [Constant(warmup_fraction=0.5).factor(step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


def test_one_step_is_enough():
    assert Cosine(warmup_fraction=0.0).factor(0, 1) == 1.0
