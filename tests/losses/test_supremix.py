"""SupReMix: equal to a loop that builds every mixture; the cap draws distinct pairs."""

import pytest
import torch
from reference.losses_ordinal import draw_shares, loop_supremix
from reference.losses_pairwise import assert_equal_with_gradients

from medgraph.losses import SupReMix, supremix
from medgraph.losses.pairs.rows import map_rows

LABELS = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("negatives", [False, True])
def test_equals_loop(normalize, detach, negatives, rng):
    x, shares = torch.randn(8, 3, generator=rng, dtype=torch.float64), draw_shares(8, 5) if negatives else None
    loss = SupReMix(0.5, 2.5, mixed_negatives=negatives, normalize_mixtures=normalize, detach_mixtures=detach, seed=5)
    assert_equal_with_gradients(
        lambda z: loss(z, LABELS), lambda z: loop_supremix(z, LABELS.double(), 0.5, 2.5, shares, normalize, detach), x
    )


@pytest.mark.parametrize("block", [1, 3])
def test_blocks_do_not_matter(block, rng, monkeypatch):
    x, loss = torch.randn(8, 3, generator=rng, dtype=torch.float64), SupReMix(max_mixed_positives=2)
    whole = loss(x, LABELS)
    monkeypatch.setattr(supremix, "map_rows", lambda *args: map_rows(*args, block=block))
    torch.testing.assert_close(loss(x, LABELS), whole)


def test_the_cap_keeps_distinct_pairs_below_and_above(rng):
    labels = torch.arange(40.0)
    loss = SupReMix(window=12.0, max_mixed_positives=50)
    x = torch.nn.functional.one_hot(torch.arange(40)).double()  # a score then shows the share of one example
    jitter = torch.rand(20, 50, generator=rng, dtype=torch.float64)
    scores, exist = loss._positives(x, x, labels[10:30].double(), labels.double(), torch.arange(40), jitter)
    assert exist.all()  # 144 pairs of an anchor in the middle
    assert scores.shape == (20, 50)
    pairs = _pairs(loss, labels, rng)
    assert len(pairs) == 50
    assert all(8 <= below < 20 < above <= 32 for below, above in pairs)


def _pairs(loss, labels, rng):
    """The pairs drawn for the anchor of label 20, read off scores against a vector that counts the examples."""
    powers = torch.eye(40, dtype=torch.float64)
    found, jitter = [], torch.rand(1, 50, generator=rng, dtype=torch.float64)
    for j in range(40):
        row = powers[j].repeat(1, 1)
        scores, _ = loss._positives(row, powers, labels[20:21].double(), labels.double(), torch.arange(40), jitter)
        found.append(scores[0] * loss.temperature)
    shares = torch.stack(found)  # (40, 50): the share of each example in each mixture
    return {tuple(column.nonzero().flatten().tolist()) for column in shares.T}


def test_draws_follow_the_generator(rng):
    x = torch.randn(8, 3, generator=rng)
    loss = SupReMix()
    assert loss(x, LABELS) == loss(x, LABELS)
    one, other = (loss(x, LABELS, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert one != other


def test_gradcheck(rng):
    x = torch.randn(6, 3, generator=rng, dtype=torch.float64).requires_grad_()
    loss = SupReMix(0.5, normalize_mixtures=True)
    assert torch.autograd.gradcheck(lambda z: loss(z, LABELS[:6]), x)


def test_no_positive_gives_zero_with_a_graph():
    x = torch.eye(2, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no positive"):
        loss = SupReMix()(x, torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_opposite_rows_stay_finite():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    loss = SupReMix(0.005, normalize_mixtures=True)(x, torch.tensor([0.0, 2.0, 1.0]))
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="window: expected a number above 0"):
        SupReMix(window=0.0)
    with pytest.raises(ValueError, match="max_mixed_positives: expected 0 or more"):
        SupReMix(max_mixed_positives=-1)
    with pytest.raises(ValueError, match="labels: NaN or infinity in 1 of 2 embeddings"):
        SupReMix()(torch.eye(2), torch.tensor([torch.inf, 0.0]))


@pytest.mark.slow
def test_cold_mixtures_of_many_keep_their_gradient_in_single_precision(rng):
    x, labels = torch.randn(2048, 128, generator=rng), 80 * torch.rand(2048, generator=rng)
    loss = SupReMix(0.05)
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    (narrow,), (wide,) = (torch.autograd.grad(loss(leaf, labels), leaf) for leaf in (single, double))
    assert (narrow.double() - wide).norm() <= 1e-6 * wide.norm()
