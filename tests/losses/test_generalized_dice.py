import pytest
import torch
from monai.losses import GeneralizedDiceLoss
from torch.nn import functional as F

from medgraph.losses.generalized_dice import GeneralizedDice


def example(rng, num_classes=3):
    logits = torch.randn(2, num_classes, 3, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(num_classes, (2, 3, 4, 5), generator=rng)
    return logits, labels


@pytest.mark.parametrize("background", [False, True])
def test_equals_monai(background, rng):
    logits, labels = example(rng)
    monai = GeneralizedDiceLoss(background, softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=0)
    found = GeneralizedDice(0.0, background)(logits, labels)
    assert found.item() == pytest.approx(monai(logits, labels[:, None]).item(), rel=1e-5)


def test_the_cross_entropy_is_added_by_its_weight(rng):
    logits, labels = example(rng)
    expected = GeneralizedDice(0.0)(logits, labels) + 0.3 * F.cross_entropy(logits, labels)
    torch.testing.assert_close(GeneralizedDice(0.3)(logits, labels), expected)


def test_a_class_that_does_not_occur_is_left_out(rng):
    logits, labels = example(rng, num_classes=4)
    labels[labels == 3] = 0
    far = logits.clone()
    far[:, 3] -= 50
    known = GeneralizedDice(0.0)(far[:, :3], labels)
    torch.testing.assert_close(GeneralizedDice(0.0)(far, labels), known)


def test_unknown_voxels_get_no_gradient(rng):
    logits, labels = example(rng)
    labels[0] = -100
    logits.requires_grad_()
    GeneralizedDice()(logits, labels).backward()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1] != 0).all()


def test_a_perfect_prediction_costs_nothing(rng):
    _, labels = example(rng)
    assert GeneralizedDice()(50.0 * F.one_hot(labels, 3).movedim(-1, 1), labels).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore:all 120 voxels have no label")
def test_background_alone_and_nothing_at_all_stay_finite(rng):
    logits, _ = example(rng)
    logits.requires_grad_()
    for value in (0, -100):
        loss = GeneralizedDice()(logits, torch.full((2, 3, 4, 5), value))
        assert loss.isfinite()
        assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_gradient_is_that_of_the_value(rng):
    logits, labels = example(rng)
    logits = logits[:, :, :1, :2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: GeneralizedDice()(x, labels[:, :1, :2, :2]), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_logits_stay_finite(dtype, rng):
    logits = (1e4 * torch.randn(1, 2, 16, 16, generator=rng)).to(dtype).requires_grad_()
    loss = GeneralizedDice()(logits, torch.randint(2, (1, 16, 16), generator=rng))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match="cross_entropy_weight: expected 0 or more, got -1"):
        GeneralizedDice(cross_entropy_weight=-1.0)
