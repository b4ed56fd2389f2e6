"""GivenWeightInfoNCE: equal to a loop for weights of keys and of pairs; reports how many keys count."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_given_weights

from medgraph.losses.given_weight_info_nce import GivenWeightInfoNCE
from medgraph.losses.pairs.terms import CodeDisagreement, SparseBias, TableLogWeight
from medgraph.losses.weighted_info_nce import WeightedInfoNCE


@pytest.mark.parametrize("mode", ["weighted", "always"])
@pytest.mark.parametrize("self_normalize", [False, True])
@pytest.mark.parametrize("per_pair", [False, True])
def test_equals_loop(mode, self_normalize, per_pair, any_tile, rng):
    queries, keys = (torch.randn(n, 3, generator=rng, dtype=torch.float64) for n in (6, 8))
    loss, always = GivenWeightInfoNCE(0.5, mode, self_normalize), mode == "always"
    table, strata = torch.randn(3, 3, generator=rng, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    vector = torch.randn(8, generator=rng, dtype=torch.float64)
    log_weights = TableLogWeight(table, strata[:6], strata) if per_pair else vector
    matrix = (table[strata[:6]][:, strata] if per_pair else vector.expand(6, -1)).exp()
    assert_equal_with_gradients(
        lambda q, k: loss(q, k, log_weights),
        lambda q, k: loop_given_weights(q, k, matrix, 0.5, always, self_normalize),
        queries,
        keys,
    )


def test_disagreements_equal_weighted_info_nce(rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    codes = torch.randint(3, (8, 2), generator=rng)
    given = GivenWeightInfoNCE(0.5)(queries, keys, CodeDisagreement(codes))
    torch.testing.assert_close(given, WeightedInfoNCE(0.5)(queries, keys, codes))


def test_reports_the_effective_sample_size(rng):
    queries, keys = torch.randn(2, 4, 3, generator=rng, dtype=torch.float64)
    weights = torch.tensor([1.0, 1.0, 2.0, 0.0], dtype=torch.float64)
    found = GivenWeightInfoNCE().stats(queries, keys, weights.log())
    assert found["effective_sample_size"] == pytest.approx(16 / 6)


def test_weights_of_zero_give_zero_with_a_graph(rng):
    x = torch.randn(2, 3, generator=rng, requires_grad=True)
    rows, columns = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    nothing = SparseBias(rows, columns, torch.full((4,), -torch.inf))
    with pytest.warns(UserWarning, match="all 2 anchors have no key of weight above 0"):
        loss = GivenWeightInfoNCE(self_normalize=True)(x, torch.ones(2, 3), nothing)
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_fewer_keys_than_queries():
    with pytest.raises(ValueError, match="4 queries need at least 4 keys"):
        GivenWeightInfoNCE()(torch.ones(4, 2), torch.ones(3, 2), torch.zeros(3))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("always", [True, False])
def test_refuses_weights_that_are_none(wrong, always):
    loss = GivenWeightInfoNCE(positive_in_denominator="always" if always else "weighted")
    with pytest.raises(ValueError, match="expected log-weights that are numbers or -inf"):
        loss(torch.eye(2), torch.eye(2), torch.tensor([wrong, 0.0]))
