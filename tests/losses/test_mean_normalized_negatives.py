"""MeanNormalizedNegatives: equal to a loop; log 2 for equal scores at every batch size."""

import math

import pytest
import torch
from torch.nn import functional as F

from medgraph.losses.mean_normalized_negatives import MeanNormalizedNegatives


@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_equals_loop(temperature, rng):
    queries, keys = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    losses = []
    for i in range(7):
        scores = [float(F.cosine_similarity(queries[i], keys[j], dim=0)) / temperature for j in range(7)]
        mean = math.fsum(math.exp(s) for j, s in enumerate(scores) if j != i) / 6
        losses.append(math.log1p(mean / math.exp(scores[i])))
    expected = math.fsum(losses) / 7
    assert MeanNormalizedNegatives(temperature)(queries, keys).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_equal_scores_give_log_two_whatever_the_batch_size(n):
    assert MeanNormalizedNegatives()(torch.ones(n, 3), torch.ones(n, 3)).item() == pytest.approx(math.log(2), abs=1e-5)


def test_reordering_examples_changes_nothing(rng):
    queries, keys = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    loss = MeanNormalizedNegatives()
    torch.testing.assert_close(loss(queries[order], keys[order]), loss(queries, keys))


def test_gradient_is_that_of_the_value(rng):
    pair = [torch.randn(5, 3, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(MeanNormalizedNegatives(0.5), pair)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_examples_give_zero_with_a_graph(n):
    queries = torch.ones(n, 3, requires_grad=True)
    with pytest.warns(UserWarning, match=f"all {n} anchors have no negative: the loss of this batch is 0"):
        loss = MeanNormalizedNegatives()(queries, torch.ones(n, 3))
    loss.backward()
    assert loss.item() == 0


def test_half_precision_and_a_small_temperature_stay_finite(rng):
    queries = torch.randn(6, 3, generator=rng).half().requires_grad_()
    loss = MeanNormalizedNegatives(0.005)(queries, -queries.detach())
    loss.backward()
    assert loss.isfinite()
    assert queries.grad.isfinite().all()


def test_refuses_a_wrong_temperature():
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        MeanNormalizedNegatives(0.0)
