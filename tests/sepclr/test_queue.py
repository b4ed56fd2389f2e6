"""SepCLR with a queue: past codes are further columns, get no gradient, and survive a restart."""

import pytest
import torch
from reference.losses_prototypes import loop_uniformity
from reference.losses_sepclr import loop_joint_entropy
from reference.sepclr_parts import batch, method

from medgraph.losses.hsic import HSIC
from medgraph.losses.salient_uniformity import clamped
from medgraph.method import Step
from medgraph.sepclr.batch import Codes


def codes(rng, n, requires_grad=True):
    views = [torch.randn(2 * n, d, generator=rng, dtype=torch.float64, requires_grad=requires_grad) for d in (6, 4)]
    return Codes.of_views(*views, torch.arange(n) % 3 > 0), views


@pytest.mark.parametrize("form", ["batch", "target"])
def test_terms_equal_double_loops_over_current_rows_and_past_columns(form, rng):
    now, leaves = codes(rng, 9)
    past, _ = codes(rng, 7)
    found = method(salient_form=form).loss(now, past=past)
    expected = {"common_uniformity": 0.0, "salient_uniformity": 0.0, "independence": 0.0}
    for view in range(2):
        c, d = now.common[view], past.common[view].detach()
        s, t = clamped(now.salient[view], now.is_target), clamped(past.salient[view], past.is_target).detach()
        expected["common_uniformity"] += loop_uniformity(c, 0.5, "pair", False, d) / 2
        rows, columns = (s, t) if form == "batch" else (s[now.is_target], t[past.is_target])
        if form == "target":
            columns = torch.cat([columns, torch.zeros(1, 4)])
        expected["salient_uniformity"] += loop_uniformity(rows, 0.5, "pair", form == "target", columns) / 2
        expected["independence"] += loop_joint_entropy(c, s, (0.5, 0.5), (d, t)) / 2
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10)
        ours, theirs = (
            torch.autograd.grad(x, leaves, retain_graph=True, allow_unused=True) for x in (found[name], value)
        )
        for one, two in zip(ours, theirs, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_a_step_remembers_its_codes_and_the_next_one_meets_them():
    model, plain = method(queue_size=20), method()
    losses = {}
    for number in range(3):
        for name, one in (("queue", model), ("plain", plain)):
            losses[name, number] = one(batch(), Step(1, 0, number))
    assert losses["queue", 0]["loss"] == losses["plain", 0]["loss"]  # nothing is remembered yet
    for name in ("common_uniformity", "salient_uniformity", "independence"):
        assert losses["queue", 1][name] != losses["plain", 1][name]
    assert losses["queue", 1]["common_alignment"] == losses["plain", 1]["common_alignment"]
    assert len(model.queue) == 20  # 36 were pushed
    assert not model.queue.vectors().requires_grad
    assert model.queue.labels()[:12].tolist() == batch().is_target.long().flip(0).tolist()


def test_past_codes_get_no_gradient_and_current_ones_do():
    model = method(queue_size=24)
    for number in range(2):
        model.zero_grad()
        model(batch(), Step(1, 0, number))["loss"].backward()
    for part in (model.encoder.common, model.encoder.salient):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0


def test_the_queue_survives_a_restart():
    model = method(queue_size=20)
    for number in range(2):
        model(batch(), Step(1, 0, number))
    again = method(queue_size=20)
    again.load_state_dict(model.state_dict())
    third = [one(batch(), Step(1, 0, 2))["loss"].item() for one in (model, again)]
    assert third[0] == third[1]


def test_the_floor_that_is_logged_counts_past_codes(rng):
    now, _ = codes(rng, 9)
    past, _ = codes(rng, 7)
    model = method()
    far = Codes(now.common, tuple(1e3 * s for s in now.salient), now.is_target)
    far_past = Codes(past.common, tuple(1e3 * s for s in past.salient), past.is_target)
    assert model.loss(far, past=far_past)["above_floor"].item() == pytest.approx(0, abs=1e-6)
    assert model.loss(now, past=past)["above_floor"] > 0.01


def test_a_term_that_takes_no_past_codes_stays_with_the_batch(rng):
    now, _ = codes(rng, 9)
    past, _ = codes(rng, 7)
    model = method(term=HSIC())
    with_past, without = model.loss(now, past=past), model.loss(now)
    assert with_past["independence"] == without["independence"]
    assert with_past["common_uniformity"] != without["common_uniformity"]


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="queue_size: expected 0 or more, got -1"):
        method(queue_size=-1)
