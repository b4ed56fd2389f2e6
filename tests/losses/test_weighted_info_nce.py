"""WeightedInfoNCE: equal to a loop; queries that share all clusters with all keys are left out."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_weighted
from torch.nn import functional as F

from medgraph.losses import pairs
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.pairs.terms import CodeDisagreement
from medgraph.losses.weighted_info_nce import WeightedInfoNCE


@pytest.mark.parametrize("mode", ["weighted", "always"])
def test_equals_loop(mode, any_tile, rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    codes = torch.randint(3, (8, 2), generator=rng)
    loss = WeightedInfoNCE(0.5, mode)
    assert_equal_with_gradients(
        lambda q, k: loss(q, k, codes), lambda q, k: loop_weighted(q, k, codes, 0.5, mode == "always"), queries, keys
    )


def test_one_clustering_of_single_members_equals_info_nce(rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    loss = WeightedInfoNCE(0.5, "always")(queries, keys, torch.arange(8)[:, None])
    torch.testing.assert_close(loss, InfoNCE(0.5)(queries, keys))


def weights_of(codes):
    """The weights (n, n) of `WeightedInfoNCE`, one pair at a time."""
    one = torch.ones(1, 1, dtype=torch.float64)
    rows = [
        [pairs.pair_lse(one, one, terms=(CodeDisagreement(a[None], b[None]),), heads=((0.0, ()),))[0] for b in codes]
        for a in codes
    ]
    return torch.stack([torch.cat(row) for row in rows]).exp()


def test_weights_are_symmetric_counts_that_no_renaming_of_clusters_changes(rng):
    codes = torch.randint(3, (7, 2), generator=rng)
    weights = weights_of(codes)
    torch.testing.assert_close(weights, weights.round())
    assert torch.equal(weights, weights.T)
    assert set(weights.round().int().unique().tolist()) == {0, 1, 2}
    assert (weights.diagonal() == 0).all()
    names = torch.tensor([7, 5, 9])
    assert torch.equal(weights_of(names[codes]), weights)
    queries, keys = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    loss = WeightedInfoNCE(0.5)
    assert torch.equal(loss(queries, keys, names[codes]), loss(queries, keys, codes))


@pytest.mark.parametrize("num_clusterings", [1, 3])
def test_clusters_of_one_give_info_nce_without_its_positive_plus_a_constant(num_clusterings, any_tile, rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    codes = torch.stack([torch.randperm(8, generator=rng) for _ in range(num_clusterings)], dim=1)
    scores = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / 0.5
    others = scores.masked_fill(torch.eye(8, dtype=torch.bool), -math.inf).logsumexp(1)
    expected = (others - scores.diagonal()).mean() + math.log(num_clusterings)
    torch.testing.assert_close(WeightedInfoNCE(0.5)(queries, keys, codes), expected)


def test_pairs_of_weight_zero_feel_no_force_and_forces_on_a_query_cancel(any_tile, rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    codes = torch.randint(3, (8, 2), generator=rng)
    weights = (codes[:, None] != codes[None]).sum(2).double()
    scores = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / 0.5
    leaf = scores.detach().requires_grad_()
    ((leaf + weights.log()).logsumexp(1) - leaf.diagonal()).mean().backward()
    off = ~torch.eye(8, dtype=torch.bool)
    assert ((weights == 0) & off).any()
    assert (leaf.grad[(weights == 0) & off] == 0).all()
    torch.testing.assert_close(leaf.grad.diagonal(), torch.full((8,), -1 / 8, dtype=torch.float64))
    torch.testing.assert_close(leaf.grad.sum(1), torch.zeros(8, dtype=torch.float64), atol=1e-15, rtol=0)
    expected = torch.autograd.grad(scores, (queries, keys), leaf.grad)  # these forces, through the scores
    found = torch.autograd.grad(WeightedInfoNCE(0.5)(queries, keys, codes), (queries, keys))
    torch.testing.assert_close(found, expected)


def test_reordering_examples_changes_nothing(rng):
    queries, keys = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    codes, order = torch.randint(3, (9, 2), generator=rng), torch.randperm(9, generator=rng)
    loss = WeightedInfoNCE()
    torch.testing.assert_close(loss(queries[order], keys[order], codes[order]), loss(queries, keys, codes))


def test_shared_clusters_give_zero_with_a_graph(any_tile, rng):
    x = torch.randn(4, 3, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 4 anchors have no key outside their clusters"):
        loss = WeightedInfoNCE()(x, torch.ones(4, 3), torch.zeros(4, 2, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        WeightedInfoNCE(0.0)
    with pytest.raises(ValueError, match="positive_in_denominator: expected one of 'weighted', 'always'"):
        WeightedInfoNCE(positive_in_denominator="never")


def test_a_solved_task_keeps_the_digits_of_its_gradient(rng):
    first = torch.randn(64, 128, generator=rng)
    second = first + 0.05 * torch.randn(64, 128, generator=rng)
    found = []
    for dtype in (torch.float32, torch.float64):
        q, k = (x.to(dtype).requires_grad_() for x in (first, second))
        loss = WeightedInfoNCE(0.05, "always")(q, k, torch.arange(64)[:, None] % 8)
        found.append((*torch.autograd.grad(loss, (q, k)), loss.detach()[None]))
    for single, double in zip(*found, strict=True):
        assert (single - double).norm() < 1e-5 * double.norm()
