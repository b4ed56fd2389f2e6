import pytest
import torch
from spawned import run_in_processes

from medgraph.losses.pairs import exchange, pair_lse, pair_sum, terms


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 4])
def test_gather_and_ring_equal_one_process(world, tmp_path):
    run_in_processes("reference.exchange_checks", "check_equals_one_process", world, tmp_path)


@pytest.mark.parametrize("dist", ["gather", "ring"])
def test_alone_the_exchange_changes_nothing(dist, rng):
    q, k = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(
        pair_lse(q, k, columns=True, dist=dist), pair_lse(q, k, columns=True), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(pair_sum(q, k, phi="exp", dist=dist), pair_sum(q, k, phi="exp"), rtol=0, atol=1e-14)


def test_mean_leaves_out_invalid_anchors():
    values = torch.tensor([1.0, torch.inf, 4.0])
    assert exchange.local_mean(values, torch.tensor([True, False, True])).item() == 2.5
    assert exchange.local_mean(values, torch.tensor([False, False, False])).item() == 0


def test_terms_that_list_pairs_cannot_travel():
    pairs = torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0])
    with pytest.raises(ValueError, match="SparseBias lists pairs of this process and cannot travel"):
        exchange.gather_keys(torch.ones(2, 2), None, (terms.SparseBias(*pairs),), (), [2], None)


def test_ring_works_on_tiles_only():
    with pytest.raises(ValueError, match='dist="ring" works on tiles'):
        pair_lse(torch.ones(2, 2), dist="ring", backend="dense")
    with pytest.raises(ValueError, match='dist="ring" works on tiles'):
        pair_sum(torch.ones(2, 2), phi="exp", dist="ring", backend="dense")


def test_unknown_exchange_is_refused():
    with pytest.raises(ValueError, match="dist: expected one of None, 'gather', 'ring', got 'mail'"):
        pair_lse(torch.ones(2, 2), dist="mail")
    with pytest.raises(ValueError, match="dist: expected one of None, 'gather', 'ring', got 'mail'"):
        pair_sum(torch.ones(2, 2), phi="exp", dist="mail")
