"""RankNContrast: equal to a loop with ties; blocks do not matter."""

import pytest
import torch
from reference.losses_ordinal import loop_rank_n_contrast
from reference.losses_pairwise import assert_equal_with_gradients

from medgraph.losses import RankNContrast, rank_n_contrast
from medgraph.losses.pairs.rows import map_rows


@pytest.mark.parametrize("block", [1, 4, 256])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_loop(block, ties, rng, monkeypatch):
    monkeypatch.setattr(rank_n_contrast, "map_rows", lambda *args: map_rows(*args, block=block))
    x, labels = torch.randn(9, 3, generator=rng, dtype=torch.float64), torch.randn(9, generator=rng).double()
    labels = labels.round() if ties else labels
    assert_equal_with_gradients(
        lambda z: RankNContrast(0.7)(z, labels), lambda z: loop_rank_n_contrast(z, labels, 0.7), x
    )


def test_equal_rows_have_a_finite_gradient():
    x = torch.ones(5, 3, requires_grad=True)
    loss = RankNContrast()(x, torch.arange(5.0))
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_gradcheck(rng):
    x = torch.randn(6, 3, generator=rng, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([1.0, 2.0, 2.0, 5.0, 1.0, 3.0])
    assert torch.autograd.gradcheck(lambda z: RankNContrast(0.7)(z, labels), x)


def test_ordered_embeddings_cost_less_than_shuffled_ones(rng):
    labels = torch.arange(20.0)
    assert RankNContrast()(labels[:, None], labels) < RankNContrast()(labels[torch.randperm(20), None], labels)


def test_one_example_gives_zero_with_a_graph():
    x = torch.ones(1, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="all 1 anchors have no other example"):
        loss = RankNContrast()(x, torch.ones(1))
    loss.backward()
    assert loss.item() == 0


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        RankNContrast(0.0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_dates_count_by_their_distance(dtype, rng):
    x, days = torch.randn(9, 3, generator=rng), torch.arange(9) % 5
    loss = RankNContrast()(x, (days + 20240101).to(dtype))
    torch.testing.assert_close(loss, RankNContrast()(x, days.float()), rtol=0, atol=0)
