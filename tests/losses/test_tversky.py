import pytest
import torch
from monai.losses import TverskyLoss
from torch.nn import functional as F

from medgraph.losses.dice import DiceCrossEntropy
from medgraph.losses.tversky import Tversky


def example(rng, num_classes=3):
    logits = torch.randn(2, num_classes, 3, 4, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(num_classes, (2, 3, 4, 5), generator=rng)
    return logits, labels


def test_equals_monai(rng):
    logits, labels = example(rng)
    monai = TverskyLoss(
        False, softmax=True, to_onehot_y=True, alpha=0.3, beta=0.7, batch=True, smooth_nr=0, smooth_dr=0
    )
    found = Tversky(0.3, 0.7, cross_entropy_weight=0.0)(logits, labels)
    assert found.item() == pytest.approx(monai(logits, labels[:, None]).item(), rel=1e-6)


@pytest.mark.parametrize(("weight", "background"), [(1.0, False), (0.4, True)])
def test_halves_are_dice(weight, background, rng):
    logits, labels = example(rng)
    expected = weight * DiceCrossEntropy(1 / weight, background)(logits, labels)  # the weight is of the other term
    torch.testing.assert_close(Tversky(0.5, 0.5, weight, background)(logits, labels), expected)


def test_missed_voxels_cost_more(rng):
    labels = torch.tensor([[0, 0, 0, 1, 1, 1]])
    fewer, more = torch.tensor([[0, 0, 0, 0, 1, 1]]), torch.tensor([[0, 0, 1, 1, 1, 1]])
    loss = Tversky(cross_entropy_weight=0.0)
    cost = [loss(50.0 * F.one_hot(guess, 2).movedim(-1, 1), labels).item() for guess in (fewer, more)]
    assert cost[0] == pytest.approx(1 - 2 / (2 + 0.7), rel=1e-6)
    assert cost[1] == pytest.approx(1 - 3 / (3 + 0.3), rel=1e-6)


def test_unknown_voxels_get_no_gradient(rng):
    logits, labels = example(rng)
    labels[0] = -100
    logits.requires_grad_()
    Tversky()(logits, labels).backward()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1] != 0).all()


def test_a_perfect_prediction_costs_nothing(rng):
    _, labels = example(rng)
    assert Tversky()(50.0 * F.one_hot(labels, 3).movedim(-1, 1), labels).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore:all 120 voxels have no label")
def test_background_alone_and_nothing_at_all_stay_finite(rng):
    logits, _ = example(rng)
    logits.requires_grad_()
    for value in (0, -100):
        loss = Tversky()(logits, torch.full((2, 3, 4, 5), value))
        assert loss.isfinite()
        assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_gradient_is_that_of_the_value(rng):
    logits, labels = example(rng)
    logits = logits[:, :, :1, :2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Tversky()(x, labels[:, :1, :2, :2]), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_logits_stay_finite(dtype, rng):
    logits = (1e4 * torch.randn(1, 2, 16, 16, generator=rng)).to(dtype).requires_grad_()
    loss = Tversky()(logits, torch.randint(2, (1, 16, 16), generator=rng))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["false_positive_weight", "false_negative_weight", "cross_entropy_weight"])
def test_refuses_negative_weights(name):
    with pytest.raises(ValueError, match=f"{name}: expected 0 or more, got -1"):
        Tversky(**{name: -1.0})
