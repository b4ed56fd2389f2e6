"""SalientUniformity: equal to double loops, bounded, and silent about the background."""

import math

import pytest
import torch
from reference.losses_sepclr import loop_salient_batch, loop_salient_target

from medgraph.losses.salient_uniformity import SalientUniformity, clamped

LOOPS = {"batch": loop_salient_batch, "target": loop_salient_target}


def example(rng, n, scale=1.0):
    salient = scale * torch.randn(n, 3, generator=rng, dtype=torch.float64)
    return salient.requires_grad_(), torch.arange(n) % 3 != 0


@pytest.mark.parametrize("form", ["batch", "target"])
@pytest.mark.parametrize("n", [7, 40])
def test_equals_double_loop(form, n, rng, any_tile):
    salient, is_target = example(rng, n)
    expected = LOOPS[form](salient.detach(), is_target, 0.4)
    assert SalientUniformity(0.4, form)(salient, is_target).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("form", ["batch", "target"])
def test_background_gets_no_gradient(form, rng):
    salient, is_target = example(rng, 9)
    SalientUniformity(form=form)(salient, is_target).backward()
    assert (salient.grad[~is_target] == 0).all()
    assert (salient.grad[is_target] != 0).any(dim=1).all()


@pytest.mark.parametrize("form", ["batch", "target"])
def test_never_above_zero_and_zero_at_the_information_less_vector(form, rng):
    salient, is_target = example(rng, 12, scale=0.1)
    assert SalientUniformity(form=form)(salient, is_target).item() < 0
    assert SalientUniformity(form=form)(0 * salient, is_target).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [100.0, 1000.0])
def test_floor_is_reached_and_finite_at_large_scale(scale, rng):
    salient, is_target = example(rng, 64, scale)
    n_b, n_t = int((~is_target).sum()), int(is_target.sum())
    floors = {"batch": math.log(n_b * (n_b - 1) / (64 * 63)), "target": -math.log(n_t + 1)}
    for form, floor in floors.items():
        loss = SalientUniformity(form=form)(salient.float(), is_target)
        loss.backward()
        assert loss.item() == pytest.approx(floor, abs=1e-6)
        assert salient.grad.isfinite().all()


def test_gradient_is_that_of_the_value(rng):
    salient, is_target = example(rng, 6)
    for loss in (SalientUniformity(form="batch"), SalientUniformity(form="target")):
        assert torch.autograd.gradcheck(lambda s, loss=loss: loss(s, is_target), salient)


def test_moving_codes_matters_turning_them_does_not(rng):
    salient, is_target = example(rng, 10)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))
    for form in ("batch", "target"):
        loss = SalientUniformity(form=form)
        torch.testing.assert_close(loss(salient @ turn, is_target), loss(salient, is_target))
        assert abs(loss(salient + 0.5, is_target) - loss(salient, is_target)) > 1e-3


@pytest.mark.filterwarnings("ignore:none of 5 examples is a target")
@pytest.mark.parametrize("form", ["batch", "target"])
@pytest.mark.parametrize("num_targets", [0, 1, 4, 5])
def test_empty_and_single_groups_stay_finite(form, num_targets):
    salient = torch.full((5, 2), 50.0, requires_grad=True)
    loss = SalientUniformity(form=form)(salient, torch.arange(5) < num_targets)
    loss.backward()
    assert loss.isfinite()
    assert salient.grad.isfinite().all()
    if form == "batch" and num_targets >= 4:  # fewer than two background rows: no floor, so no loss
        assert loss.item() == 0


def test_half_precision_stays_finite(rng):
    salient, is_target = example(rng, 8, scale=100)
    half = salient.detach().half().requires_grad_()
    SalientUniformity()(half, is_target).backward()
    assert half.grad.isfinite().all()


def test_clamped_codes_are_zero_on_the_background(rng):
    salient, is_target = example(rng, 6)
    codes = clamped(salient, is_target)
    assert (codes[~is_target] == 0).all()
    assert torch.equal(codes[is_target], salient[is_target])


def test_the_unbounded_form_is_refused():
    with pytest.raises(ValueError, match="'target_without_self' has no floor"):
        SalientUniformity(form="target_without_self")
    with pytest.raises(ValueError, match="form: expected one of 'batch', 'target', got 'pair'"):
        SalientUniformity(form="pair")
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        SalientUniformity(bandwidth=-1.0)
