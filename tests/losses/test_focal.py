import pytest
import torch
from monai.losses import FocalLoss
from torch.nn import functional as F

from medgraph.losses.dice import DiceCrossEntropy
from medgraph.losses.focal import Focal


def example(rng, num_classes=3):
    logits = torch.randn(2, num_classes, 3, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(num_classes, (2, 3, 4, 5), generator=rng)
    return logits, labels


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_equals_monai(gamma, rng):
    logits, labels = example(rng)
    expected = FocalLoss(use_softmax=True, gamma=gamma)(logits, F.one_hot(labels, 3).movedim(-1, 1).double())
    found = Focal(gamma, dice_weight=0.0)(logits, labels)
    assert found.item() == pytest.approx(3 * expected.item(), rel=1e-6)  # MONAI takes the mean over classes too


@pytest.mark.parametrize(("weight", "background"), [(1.0, False), (0.3, True)])
def test_gamma_zero_is_dice_and_cross_entropy(weight, background, rng):
    logits, labels = example(rng)
    expected = DiceCrossEntropy(weight, background)(logits, labels)
    torch.testing.assert_close(Focal(0.0, weight, background)(logits, labels), expected)


def test_unknown_voxels_get_no_gradient(rng):
    logits, labels = example(rng)
    labels[0] = -100
    logits.requires_grad_()
    Focal()(logits, labels).backward()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1] != 0).all()


def test_a_perfect_prediction_costs_nothing(rng):
    _, labels = example(rng)
    assert Focal()(50.0 * F.one_hot(labels, 3).movedim(-1, 1), labels).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore:all 120 voxels have no label")
def test_background_alone_and_nothing_at_all_stay_finite(rng):
    logits, _ = example(rng)
    logits.requires_grad_()
    for value in (0, -100):
        loss = Focal()(logits, torch.full((2, 3, 4, 5), value))
        assert loss.isfinite()
        assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_gradient_is_that_of_the_value(rng):
    logits, labels = example(rng)
    logits = logits[:, :, :1, :2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Focal()(x, labels[:, :1, :2, :2]), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_logits_stay_finite(dtype, rng):
    logits = (1e4 * torch.randn(1, 2, 16, 16, generator=rng)).to(dtype).requires_grad_()
    loss = Focal()(logits, torch.randint(2, (1, 16, 16), generator=rng))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_refuses_a_negative_gamma():
    with pytest.raises(ValueError, match="gamma: expected 0 or more, got -1"):
        Focal(gamma=-1.0)
