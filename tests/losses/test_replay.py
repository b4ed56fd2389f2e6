"""ReplayLoss: equal to a loop; the previous model learns nothing."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients
from reference.losses_relational import loop_replay

from medgraph.losses import ReplayLoss

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


@pytest.mark.parametrize("num_others", [0, 4])
def test_equals_loop(num_others, any_tile, rng):
    now, before = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    others = torch.randn(4, 3, generator=rng, dtype=torch.float64)[:num_others]
    loss = ReplayLoss(0.5)
    inputs = (now, others) if num_others else (now,)
    assert_equal_with_gradients(
        lambda x, *more: loss(x, before, LABELS, *more),
        lambda x, *more: loop_replay(x, before, LABELS, more[0] if more else others, 0.5),
        *inputs,
    )


def test_gradcheck(rng):
    now, before = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ReplayLoss(0.5)(x, before, LABELS), now.requires_grad_())


def test_the_previous_model_receives_no_gradient(rng):
    now, before = (torch.randn(6, 3, generator=rng).requires_grad_() for _ in range(2))
    ReplayLoss()(now, before, LABELS).backward()
    assert before.grad is None


def test_a_single_example_gives_zero_with_a_graph():
    x = torch.ones(1, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="all 1 anchors have no other example"):
        loss = ReplayLoss()(x, torch.ones(1, 3), torch.zeros(1, dtype=torch.long))
    loss.backward()
    assert (x.grad == 0).all()


def test_memory_does_not_grow_with_the_labels(rng):
    x, labels = torch.randn(6, 3, generator=rng), torch.tensor([0, 1, 0, 2, 1, 0])
    assert torch.equal(ReplayLoss()(x, x.flip(0), labels + 10**12), ReplayLoss()(x, x.flip(0), labels))


@pytest.mark.usefixtures("shapes_unchecked")
def test_labels_may_be_of_any_whole_type_and_are_one_per_example(rng):
    x, labels = torch.randn(6, 3, generator=rng), torch.tensor([0, 1, 0, 1, 1, 0])
    for dtype in (torch.uint8, torch.int16, torch.bool):
        assert torch.equal(ReplayLoss()(x, x.flip(0), labels.to(dtype)), ReplayLoss()(x, x.flip(0), labels))
    with pytest.raises(ValueError, match=r"labels: expected one per example, shape \(n,\), got \(6, 1\)"):
        ReplayLoss()(x, x.flip(0), labels[:, None])
    with pytest.raises(TypeError, match=r"labels: expected whole numbers, got torch.float32"):
        ReplayLoss()(x, x.flip(0), labels.float())
