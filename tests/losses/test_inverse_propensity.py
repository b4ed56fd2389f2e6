"""InversePropensity: equal to a loop; a constant propensity changes nothing."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_given_weights, loop_inverse_propensity

from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.inverse_propensity import InversePropensity


def test_equals_loop(any_tile, rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    propensity = torch.tensor([0.01, 0.1, 0.3, 0.9, 0.02, 0.5, 1.0, 0.2], dtype=torch.float64)
    loss = InversePropensity(0.5, 0.05)
    assert_equal_with_gradients(
        lambda q, k: loss(q, k, propensity),
        lambda q, k: loop_inverse_propensity(q, k, propensity, 0.5, 0.05),
        queries,
        keys,
    )


def test_constant_propensity_changes_nothing(rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    loss = InversePropensity(0.5)(queries, keys, torch.full((8,), 0.3))
    torch.testing.assert_close(loss, InfoNCE(0.5)(queries, keys))


def test_reordering_examples_changes_nothing(rng):
    queries, keys = torch.randn(2, 9, 4, generator=rng)
    propensity, order = torch.rand(9, generator=rng), torch.randperm(9, generator=rng)
    loss = InversePropensity()
    torch.testing.assert_close(loss(queries[order], keys[order], propensity[order]), loss(queries, keys, propensity))


def test_one_example_has_loss_zero(rng):
    queries, keys = torch.randn(2, 1, 4, generator=rng)
    assert InversePropensity()(queries, keys, torch.tensor([0.2])).item() == pytest.approx(0.0, abs=1e-6)


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        InversePropensity(0.0)
    with pytest.raises(ValueError, match="min_propensity: expected a number from"):
        InversePropensity(min_propensity=0.0)


@pytest.mark.parametrize("self_normalize", [True, False])
def test_table_equals_given_weights(self_normalize, rng):
    queries, keys = torch.randn(2, 8, 3, generator=rng, dtype=torch.float64)
    table = torch.rand(3, 3, generator=rng, dtype=torch.float64)
    strata = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    loss = InversePropensity(0.5, 0.2, self_normalize)
    weights = 1 / table.clamp(0.2, 1)[strata][:, strata]
    assert_equal_with_gradients(
        lambda q, k: loss(q, k, table, strata),
        lambda q, k: loop_given_weights(q, k, weights, 0.5, False, self_normalize),
        queries,
        keys,
    )
    size = (weights.sum(dim=1) ** 2 / weights.square().sum(dim=1)).mean().item()
    assert loss.stats(queries, keys, table, strata)["effective_sample_size"] == pytest.approx(size)


def test_effective_sample_size_of_one_weight_per_key(rng):
    queries, keys = torch.randn(2, 3, 3, generator=rng, dtype=torch.float64)
    found = InversePropensity().stats(queries, keys, torch.tensor([1.0, 1.0, 0.5]))
    assert found["effective_sample_size"] == pytest.approx(16 / 6)


def test_refuses_a_table_without_strata_and_wrong_strata():
    x, table = torch.eye(3), torch.ones(2, 2)
    with pytest.raises(ValueError, match="propensity: expected one number per key, or a table together with"):
        InversePropensity()(x, x, table)
    with pytest.raises(ValueError, match="strata: expected 0 to 1, the rows of the table, got 0 to 2"):
        InversePropensity()(x, x, table, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_refuses_a_propensity_that_is_none(wrong):
    x, table = torch.eye(2), torch.full((2, 2), 0.5)
    table[1, 0] = wrong
    with pytest.raises(ValueError, match="propensity: NaN or infinity in 1 of 2 embeddings, rows 1"):
        InversePropensity()(x, x, table[:, 0])
    with pytest.raises(ValueError, match="propensity: NaN or infinity in 1 of 2 embeddings, rows 1"):
        InversePropensity()(x, x, table, torch.tensor([0, 1]))
