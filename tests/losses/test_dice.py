"""DiceCrossEntropy: equal to a voxel loop, in 2D and 3D; absent classes and unknown voxels."""

import pytest
import torch
from reference.losses_prototypes import loop_cross_entropy, loop_dice
from torch.nn import functional as F

from medgraph.losses.dice import DiceCrossEntropy


def _loop(logits, labels, dice_weight, classes):
    rows, voxels = logits.movedim(1, -1).reshape(-1, logits.shape[1]), labels.flatten()
    codes = F.one_hot(voxels[voxels >= 0], logits.shape[1]).double()
    cross_entropy = loop_cross_entropy(rows[voxels >= 0], codes, 1.0)
    return cross_entropy + dice_weight * loop_dice(logits.softmax(dim=1), labels, classes)


@pytest.mark.parametrize("spatial", [(4,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("include_background", [False, True])
def test_equals_loop(spatial, include_background, rng):
    logits = torch.randn(2, 3, *spatial, generator=rng, dtype=torch.float64)
    labels = torch.randint(3, (2, *spatial), generator=rng)
    labels.view(-1)[:3] = torch.arange(3)  # each class occurs
    expected = _loop(logits, labels, 0.7, [0, 1, 2] if include_background else [1, 2])
    assert DiceCrossEntropy(0.7, include_background)(logits, labels).item() == pytest.approx(expected, rel=1e-12)


def test_a_class_that_does_not_occur_is_left_out_of_dice(rng):
    logits = torch.randn(2, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.tensor([[0, 1, 0, 1, 3], [3, 0, 0, 0, 1]])
    assert DiceCrossEntropy()(logits, labels).item() == pytest.approx(_loop(logits, labels, 1.0, [1, 3]), rel=1e-12)


def test_background_alone_leaves_the_cross_entropy(rng):
    logits = torch.randn(2, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.zeros(2, 5, dtype=torch.long)
    torch.testing.assert_close(DiceCrossEntropy()(logits, labels), F.cross_entropy(logits, labels))


def test_unknown_voxels_are_left_out(rng):
    logits = torch.randn(2, 3, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, -100, 1, 2], [-100, 0, 0, 2, 1]])
    loss = DiceCrossEntropy()(logits, labels)
    assert loss.item() == pytest.approx(_loop(logits.detach(), labels, 1.0, [1, 2]), rel=1e-12)
    loss.backward()
    assert (logits.grad.movedim(1, -1)[labels == -100] == 0).all()


def test_all_voxels_unknown_gives_zero_with_a_graph():
    logits = torch.ones(1, 2, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="all 3 voxels have no label"):
        loss = DiceCrossEntropy()(logits, torch.full((1, 3), -100))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_perfect_prediction_gives_zero_and_the_opposite_one_plus_cross_entropy():
    labels = torch.tensor([[0, 1, 1, 0]])
    logits = 50.0 * F.one_hot(labels, 2).movedim(-1, 1)
    assert DiceCrossEntropy()(logits, labels).item() == pytest.approx(0, abs=1e-6)
    assert DiceCrossEntropy()(-logits, labels).item() == pytest.approx(50 + 1, rel=1e-6)


def test_gradient_is_that_of_the_value(rng):
    logits = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 1, 2, 0], [1, 1, -100, 0]])
    assert torch.autograd.gradcheck(lambda x: DiceCrossEntropy()(x, labels), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_logits_stay_finite(dtype, rng):
    logits = (1e4 * torch.randn(1, 2, 64, 64, generator=rng)).to(dtype).requires_grad_()
    loss = DiceCrossEntropy()(logits, torch.randint(2, (1, 64, 64), generator=rng))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="dice_weight: expected 0 or more, got -1"):
        DiceCrossEntropy(dice_weight=-1.0)
    with pytest.raises(ValueError, match="expected 2 or more classes on axis 1, background included, got 1"):
        DiceCrossEntropy()(torch.ones(1, 1, 4), torch.zeros(1, 4, dtype=torch.long))
