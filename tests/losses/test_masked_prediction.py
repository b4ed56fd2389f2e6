"""MaskedPrediction: equal to a loop; only hidden, valid slots count; targets without gradient."""

import jaxtyping
import pytest
import torch
from reference.losses_prototypes import loop_masked_info_nce
from torch.nn import functional as F

from medgraph.losses.masked_prediction import MaskedPrediction

MEASURES = ["mse", "smooth_l1", "cosine", "info_nce"]


def _inputs(rng):
    predictions, targets = torch.randn(2, 3, 6, 4, generator=rng, dtype=torch.float64)
    mask = torch.tensor([[0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]]).bool()
    valid = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()  # slot (1, 5) is padding
    return predictions, targets, mask, valid


@pytest.mark.parametrize(
    ("measure", "slot_loss"),
    [
        ("mse", lambda p, e: ((p - e) ** 2).mean()),
        ("smooth_l1", lambda p, e: torch.where((p - e).abs() < 1, (p - e) ** 2 / 2, (p - e).abs() - 0.5).mean()),
        ("cosine", lambda p, e: 2 - 2 * (p @ e) / p.norm() / e.norm()),
    ],
)
def test_equals_loop_over_hidden_slots(measure, slot_loss, rng):
    predictions, targets, mask, valid = _inputs(rng)
    slots = [(b, s) for b in range(3) for s in range(6) if mask[b, s] and valid[b, s]]
    expected = sum(slot_loss(predictions[slot], targets[slot]).item() for slot in slots) / len(slots)
    ours = MaskedPrediction(measure)(predictions, targets, mask, valid)
    assert ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("min_gap", [1, 2, 4])
def test_info_nce_equals_loop_over_pairs(min_gap, rng):
    predictions, targets, mask, valid = _inputs(rng)
    expected = loop_masked_info_nce(predictions, targets, mask, valid, 0.2, min_gap)
    ours = MaskedPrediction("info_nce", 0.2, min_gap)(predictions, targets, mask, valid)
    assert ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_gradient_reaches_hidden_valid_slots_alone_and_no_target(measure, rng):
    predictions, targets, mask, valid = _inputs(rng)
    predictions.requires_grad_(), targets.requires_grad_()
    MaskedPrediction(measure)(predictions, targets, mask, valid).backward()
    assert targets.grad is None
    assert ((predictions.grad != 0).any(dim=2) == (mask & valid)).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_padding_never_enters(measure, rng):
    predictions, targets, mask, valid = _inputs(rng)
    other = targets + 100 * (~valid)[..., None]
    expected = MaskedPrediction(measure)(predictions, targets, mask, valid)
    torch.testing.assert_close(MaskedPrediction(measure)(predictions, other, mask, valid), expected)


@pytest.mark.parametrize("measure", MEASURES)
def test_gradient_is_that_of_the_value(measure, rng):
    predictions, targets, mask, valid = _inputs(rng)
    loss = MaskedPrediction(measure, 0.5, 2)
    assert torch.autograd.gradcheck(lambda p: loss(p, targets, mask, valid), predictions.requires_grad_())


@pytest.mark.parametrize("measure", ["mse", "smooth_l1", "cosine"])
def test_perfect_prediction_gives_zero(measure, rng):
    _, targets, mask, _ = _inputs(rng)
    assert MaskedPrediction(measure)(targets, targets, mask).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_hidden_slot_gives_zero_with_a_graph(measure, rng):
    predictions, targets, mask, _ = _inputs(rng)
    with pytest.warns(UserWarning, match="all 0 anchors have no masked slot: the loss of this batch is 0"):
        loss = MaskedPrediction(measure)(predictions.requires_grad_(), targets, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_half_precision_stays_finite(measure, rng):
    predictions, targets, mask, valid = _inputs(rng)
    low = (1000 * F.normalize(predictions, dim=2)).half().requires_grad_()
    loss = MaskedPrediction(measure)(low, targets.half(), mask, valid)
    loss.backward()
    assert loss.isfinite()
    assert low.grad.isfinite().all()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="measure: expected one of 'mse', 'smooth_l1', 'cosine', 'info_nce', got 'l2'"):
        MaskedPrediction("l2")
    with pytest.raises(ValueError, match="min_gap: expected 1 or more, got 0"):
        MaskedPrediction(min_gap=0)
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        MaskedPrediction(temperature=0.0)


@pytest.mark.parametrize("measure", ["mse", "smooth_l1", "cosine", "info_nce"])
def test_refuses_embeddings_of_another_width(measure):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="expected the same width, got predictions: 4, targets: 1"):
            MaskedPrediction(measure)(torch.ones(2, 3, 4), torch.ones(2, 3, 1), torch.ones(2, 3, dtype=torch.bool))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
