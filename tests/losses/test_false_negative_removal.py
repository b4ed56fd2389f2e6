"""FalseNegativeRemoval: equal to a loop; a wide margin is NT-Xent; dropped pairs carry no gradient."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_false_negative_removal, loop_guided_removal

from medgraph.losses.false_negative_removal import FalseNegativeRemoval
from medgraph.losses.nt_xent import NTXent


@pytest.mark.parametrize("margin", [-1.2, -0.5, 0.1])
def test_equals_loop(margin, any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    loss = FalseNegativeRemoval(0.5, margin)
    assert_equal_with_gradients(loss, lambda a, b: loop_false_negative_removal(a, b, 0.5, margin), first, second)


def test_margin_two_equals_nt_xent(rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(FalseNegativeRemoval(0.5, 2.0)(first, second), NTXent(0.5)(first, second))


def test_reordering_examples_changes_nothing(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order, loss = torch.randperm(9, generator=rng), FalseNegativeRemoval()
    torch.testing.assert_close(loss(first[order], second[order]), loss(first, second))


def test_no_negative_left_gives_zero_with_a_graph(any_tile):
    x = torch.ones(3, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="all 6 anchors have no negative left"):
        loss = FalseNegativeRemoval(margin=-0.5)(x, torch.ones(3, 4))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        FalseNegativeRemoval(0.0)
    with pytest.raises(ValueError, match="margin: expected a number from"):
        FalseNegativeRemoval(margin=3.0)


@pytest.mark.parametrize("margin", [0.1, 2.0])
def test_guide_equals_loop(margin, any_tile, rng):
    first, second, guide = (torch.randn(6, d, generator=rng, dtype=torch.float64) for d in (3, 3, 2))
    loss = FalseNegativeRemoval(0.5, margin, guide_threshold=0.6)
    assert_equal_with_gradients(
        lambda a, b: loss(a, b, guide), lambda a, b: loop_guided_removal(a, b, guide, 0.5, margin, 0.6), first, second
    )


def test_refuses_a_guide_without_threshold_and_the_reverse():
    x = torch.eye(3)
    with pytest.raises(ValueError, match="guide: expected embeddings exactly if guide_threshold is set"):
        FalseNegativeRemoval()(x, x, x)
    with pytest.raises(ValueError, match="guide: expected embeddings exactly if guide_threshold is set"):
        FalseNegativeRemoval(guide_threshold=0.5)(x, x)
    with pytest.raises(ValueError, match="guide_threshold: expected a number from -1"):
        FalseNegativeRemoval(guide_threshold=1.5)
