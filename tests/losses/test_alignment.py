"""Alignment: equal to a loop; zero for equal views; finite gradients."""

import jaxtyping
import pytest
import torch

from medgraph.losses.alignment import Alignment


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_equals_loop(power, rng):
    first, second = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    distances = [
        sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) ** 0.5 for x, y in zip(first, second, strict=True)
    ]
    expected = sum(float(d) ** power for d in distances) / 7 / (2 * 0.3)
    assert Alignment(0.3, power)(first, second).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_equal_views_give_zero_and_a_zero_gradient(power, rng):
    views = torch.randn(5, 3, generator=rng, requires_grad=True)
    loss = Alignment(power=power)(views, views.detach())
    loss.backward()
    assert loss.item() == 0
    assert (views.grad == 0).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_gradient_is_that_of_the_value(power, rng):
    first, second = (torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(Alignment(0.7, power), (first, second))


def test_moving_and_reordering_all_views_changes_nothing(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(Alignment()(first[order] + 3, second[order] + 3), Alignment()(first, second))


def test_no_example_gives_zero():
    assert Alignment()(torch.empty(0, 3), torch.empty(0, 3)).item() == 0


def test_half_precision_is_summed_in_float32():
    loss = Alignment()(torch.full((4, 3), 300.0).half(), torch.zeros(4, 3).half())  # squares overflow float16
    assert loss.item() == pytest.approx(3 * 300**2)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0, got 0"):
        Alignment(bandwidth=0.0)
    with pytest.raises(ValueError, match=r"power: expected 1\.0 or more, got 0\.5"):
        Alignment(power=0.5)


def test_refuses_views_that_do_not_fit():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="expected the same length, got first: 3, second: 1"):
            Alignment()(torch.ones(3, 2), torch.ones(1, 2))
        with pytest.raises(ValueError, match="second: NaN or infinity in 1 of 2 embeddings, rows 1"):
            Alignment()(torch.ones(2, 2), torch.tensor([[1.0, 1.0], [torch.inf, 1.0]]))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
