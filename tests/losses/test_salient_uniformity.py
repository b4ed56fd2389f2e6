"""SalientUniformity: equal to double loops, bounded, and silent about the background."""

import math

import jaxtyping
import pytest
import torch
from reference.losses_prototypes import loop_uniformity
from reference.losses_sepclr import loop_salient_batch, loop_salient_target

from medgraph.losses.salient_uniformity import SalientUniformity, clamped
from medgraph.losses.uniformity import Uniformity


def loop_salient_target_only(salient, is_target, bandwidth):
    return float(loop_uniformity(salient[is_target], bandwidth, "pair", True, None))


LOOPS = {"batch": loop_salient_batch, "target": loop_salient_target, "target_only": loop_salient_target_only}


def example(rng, n, scale=1.0):
    salient = scale * torch.randn(n, 3, generator=rng, dtype=torch.float64)
    return salient.requires_grad_(), torch.arange(n) % 3 != 0


@pytest.mark.parametrize("form", LOOPS)
@pytest.mark.parametrize("n", [7, 40])
def test_equals_double_loop(form, n, rng, any_tile):
    salient, is_target = example(rng, n)
    expected = LOOPS[form](salient.detach(), is_target, 0.4)
    assert SalientUniformity(0.4, form)(salient, is_target).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("form", LOOPS)
def test_background_gets_no_gradient(form, rng):
    salient, is_target = example(rng, 9)
    SalientUniformity(form=form)(salient, is_target).backward()
    assert (salient.grad[~is_target] == 0).all()
    assert (salient.grad[is_target] != 0).any(dim=1).all()


@pytest.mark.parametrize("form", LOOPS)
def test_never_above_zero_and_zero_at_the_information_less_vector(form, rng):
    salient, is_target = example(rng, 12, scale=0.1)
    assert SalientUniformity(form=form)(salient, is_target).item() < 0
    assert SalientUniformity(form=form)(0 * salient, is_target).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [100.0, 1000.0])
def test_floor_is_reached_and_finite_at_large_scale(scale, rng):
    salient, is_target = example(rng, 64, scale)
    n_b, n_t = int((~is_target).sum()), int(is_target.sum())
    floors = {
        "batch": math.log(n_b * (n_b - 1) / (64 * 63)), "target": -math.log(n_t + 1), "target_only": -math.log(n_t)
    }  # fmt: skip
    for form, floor in floors.items():
        assert SalientUniformity(form=form).floor(is_target) == pytest.approx(floor)
        loss = SalientUniformity(form=form)(salient.float(), is_target)
        loss.backward()
        assert loss.item() == pytest.approx(floor, abs=1e-6)
        assert salient.grad.isfinite().all()


def test_gradient_is_that_of_the_value(rng):
    salient, is_target = example(rng, 6)
    for loss in (SalientUniformity(form=form) for form in LOOPS):
        assert torch.autograd.gradcheck(lambda s, loss=loss: loss(s, is_target), salient)


def test_moving_codes_matters_turning_them_does_not(rng):
    salient, is_target = example(rng, 10)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))
    for form in ("batch", "target"):
        loss = SalientUniformity(form=form)
        torch.testing.assert_close(loss(salient @ turn, is_target), loss(salient, is_target))
        assert abs(loss(salient + 0.5, is_target) - loss(salient, is_target)) > 1e-3


@pytest.mark.filterwarnings("ignore:none of 5 examples is a target")
@pytest.mark.parametrize("form", LOOPS)
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
    with pytest.raises(ValueError, match="form: expected one of 'batch', 'target', 'target_only', got 'pair'"):
        SalientUniformity(form="pair")
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        SalientUniformity(bandwidth=-1.0)


def test_the_batch_form_is_the_uniformity_of_clamped_codes(rng):
    salient, is_target = example(rng, 9)
    expected = Uniformity(0.4)(clamped(salient, is_target))
    torch.testing.assert_close(SalientUniformity(0.4)(salient, is_target), expected, rtol=0, atol=1e-12)


def test_without_the_information_less_vector_nothing_keeps_targets_away_from_it(rng):
    salient, is_target = example(rng, 12)
    only = SalientUniformity(form="target_only")
    torch.testing.assert_close(only(salient + 5, is_target), only(salient, is_target))
    with_it = SalientUniformity(form="target")
    assert with_it(salient + 5, is_target) < with_it(salient, is_target)


@pytest.mark.parametrize("form", LOOPS)
def test_fixed_points_are_further_columns(form, rng, any_tile):
    salient, is_target = example(rng, 9)
    held, held_is_target = torch.randn(6, 3, generator=rng, dtype=torch.float64), torch.arange(6) < 4
    found = SalientUniformity(0.4, form)(salient, is_target, held, held_is_target)
    if form == "batch":
        points, others = clamped(salient, is_target), clamped(held, held_is_target)
    else:
        points = salient[is_target]
        others = torch.cat([held[held_is_target], torch.zeros(int(form == "target"), 3)])
    expected = loop_uniformity(points, 0.4, "pair", form != "batch", others)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    ours, theirs = (torch.autograd.grad(value, salient)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert (ours[~is_target] == 0).all()


@pytest.mark.parametrize("form", LOOPS)
def test_the_floor_counts_fixed_points(form, rng):
    salient, is_target = example(rng, 9, scale=1000.0)
    held, held_is_target = 1000 * torch.randn(6, 3, generator=rng, dtype=torch.float64), torch.arange(6) < 4
    loss = SalientUniformity(form=form)
    floor = {"batch": math.log(3 * (2 + 2) / (9 * 14)), "target": -math.log(11), "target_only": -math.log(10)}[form]
    assert loss.floor(is_target, held_is_target) == pytest.approx(floor)
    assert loss(salient, is_target, held, held_is_target).item() == pytest.approx(floor, abs=1e-6)


def test_one_background_row_has_a_floor_once_past_ones_are_there(rng):
    salient, is_target = example(rng, 5)
    is_target = torch.arange(5) > 0
    loss = SalientUniformity()
    assert loss(salient, is_target) == loss.floor(is_target) == 0
    past = torch.ones(2, 3, dtype=torch.float64), torch.tensor([False, True])
    assert loss.floor(is_target, past[1]) == pytest.approx(math.log(1 / (5 * 6)))
    assert loss(salient, is_target, *past) < 0


def test_fixed_points_must_fit():
    is_target = torch.tensor([True, False])
    with pytest.raises(ValueError, match="expected the same length, got fixed: 3, is_target: 0"):
        SalientUniformity()(torch.ones(2, 2), is_target, torch.ones(3, 2))
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="expected the same width, got salient: 2, fixed: 3"):
            SalientUniformity()(torch.ones(2, 2), is_target, torch.ones(2, 3), is_target)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
