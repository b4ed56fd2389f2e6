"""DCL and DCLW: equal to a loop; log(2n - 2) at zero scores."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_dcl

from medgraph.losses.decoupled import DCL, DCLW


def test_dcl_equals_loop(any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    assert_equal_with_gradients(DCL(0.5), lambda a, b: loop_dcl(a, b, 0.5), first, second)


def test_dclw_equals_loop(any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    assert_equal_with_gradients(DCLW(0.5, 0.3), lambda a, b: loop_dcl(a, b, 0.5, 0.3), first, second)


@pytest.mark.parametrize("loss", [DCL(), DCLW()])
def test_zero_scores_give_log_of_the_number_of_negatives(loss):
    zeros = torch.zeros(5, 3, dtype=torch.float64)
    assert loss(zeros, zeros).item() == pytest.approx(math.log(8), rel=1e-12)


@pytest.mark.parametrize("loss", [DCL(), DCLW()])
def test_reordering_examples_changes_nothing(loss, rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(loss(first[order], second[order]), loss(first, second))


@pytest.mark.parametrize("loss", [DCL(), DCLW()])
def test_one_example_gives_zero_with_a_graph(loss, rng):
    x = torch.randn(1, 4, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no negative"):
        value = loss(x, torch.ones(1, 4))
    value.backward()
    assert value.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        DCL(0.0)
    with pytest.raises(ValueError, match="spread: expected a number above 0"):
        DCLW(spread=0.0)
