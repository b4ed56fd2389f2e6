"""QuantileNegatives: equal to a loop that sorts; all kept is NT-Xent."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_quantile

from medgraph.losses.quantile_negatives import QuantileNegatives


@pytest.mark.parametrize(("share", "num_kept"), [(0.05, 1), (0.35, 4), (1.0, 10)])
def test_equals_loop(share, num_kept, any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    loss = QuantileNegatives(0.5, share)
    assert_equal_with_gradients(loss, lambda a, b: loop_quantile(a, b, 0.5, num_kept), first, second)


def test_reordering_examples_changes_nothing(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order, loss = torch.randperm(9, generator=rng), QuantileNegatives(share=0.3)
    torch.testing.assert_close(loss(first[order], second[order]), loss(first, second))


def test_rounding_does_not_choose_among_many_negatives(rng):
    first, second = torch.randn(2, 2048, 128, generator=rng)
    loss, gradients = QuantileNegatives(0.05), {}
    for dtype in (torch.float32, torch.float64):
        leaf = first.to(dtype).requires_grad_()
        (gradients[dtype],) = torch.autograd.grad(loss(leaf, second.to(dtype)), leaf)
        assert gradients[dtype].dtype == dtype
    wide = gradients[torch.float64]
    assert (gradients[torch.float32].double() - wide).norm() <= 1e-6 * wide.norm()


@pytest.mark.parametrize("dim", [3, 65, 129, 300, 1000])
def test_rounding_of_equal_rows_leaves_each_anchor_its_negatives(dim):
    rows, loss = torch.ones(60, dim), QuantileNegatives(reduction="none")
    assert loss.stats(rows, rows)["valid"] == 120
    expected = torch.full((120,), math.log(119.0))  # all 118 tie, and all stay
    torch.testing.assert_close(loss(rows, rows), expected)


@pytest.mark.parametrize(("share", "num_kept"), [(0.07, 7), (0.29, 29), (0.071, 8), (1e-12, 1)])
def test_the_share_is_that_of_the_negatives_however_it_is_rounded(share, num_kept, rng):
    first, second = torch.randn(2, 51, 5, generator=rng, dtype=torch.float64)
    expected = loop_quantile(first, second, 0.5, num_kept)
    torch.testing.assert_close(QuantileNegatives(0.5, share)(first, second), expected)


def test_one_example_gives_zero_with_a_graph(rng):
    x = torch.randn(1, 4, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no negative"):
        loss = QuantileNegatives()(x, torch.ones(1, 4))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        QuantileNegatives(0.0)
    with pytest.raises(ValueError, match="share: expected a number above 0"):
        QuantileNegatives(share=0.0)
