"""WeightedInfoNCE: equal to a loop; queries that share all clusters with all keys are left out."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_weighted

from medgraph.losses.info_nce import InfoNCE
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
