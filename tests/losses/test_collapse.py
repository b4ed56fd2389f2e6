"""Collapse: zero at s', its gradient, and silence about targets."""

import pytest
import torch

from medgraph.losses.collapse import Collapse


def test_zero_exactly_where_the_background_is_zero(rng):
    salient = torch.randn(5, 3, generator=rng)
    is_target = torch.tensor([True, False, True, False, True])
    assert Collapse()(torch.where(is_target[:, None], salient, 0.0), is_target).item() == 0
    assert Collapse()(salient, is_target).item() > 0


def test_gradient_is_the_code_over_count_and_bandwidth(rng):
    salient = torch.randn(6, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    is_target = torch.arange(6) < 2
    Collapse(bandwidth=0.2)(salient, is_target).backward()
    assert (salient.grad[is_target] == 0).all()
    torch.testing.assert_close(salient.grad[~is_target], salient.detach()[~is_target] / (4 * 0.2))


def test_no_background_gives_zero_with_a_graph():
    salient = torch.ones(3, 2, requires_grad=True)
    with pytest.warns(UserWarning, match="none of 3 examples is background"):
        loss = Collapse()(salient, torch.ones(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0


def test_half_precision_does_not_overflow():
    loss = Collapse()(torch.full((4, 3), 300.0, dtype=torch.float16), torch.zeros(4, dtype=torch.bool))
    assert loss.item() == pytest.approx(270_000)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        Collapse(bandwidth=0.0)
