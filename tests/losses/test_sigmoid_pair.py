"""SigmoidPairLoss: equal to a loop of log-sigmoids; scale and bias learn."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients
from reference.losses_relational import loop_sigmoid_pair

from medgraph.losses import SigmoidPairLoss, pairs


@pytest.mark.parametrize("num_keys", [8, 11])
@pytest.mark.parametrize("tiled", [False, True])
def test_equals_loop(num_keys, tiled, rng, monkeypatch):
    if tiled:
        monkeypatch.setattr(pairs.sum, "DENSE_BELOW", 0)
        monkeypatch.setattr(pairs.sum, "tile_size", lambda *_: 3)
    queries = torch.randn(8, 3, generator=rng, dtype=torch.float64)
    keys = torch.randn(num_keys, 3, generator=rng, dtype=torch.float64)
    loss = SigmoidPairLoss().double()

    def fast(q, k, log_scale, bias):
        return torch.func.functional_call(loss, {"log_scale": log_scale, "bias": bias}, (q, k))

    def slow(q, k, log_scale, bias):
        return loop_sigmoid_pair(q, k, (-log_scale).exp(), bias)

    start = torch.tensor(math.log(3.0)).double(), torch.tensor(-1.0).double()
    assert_equal_with_gradients(fast, slow, queries, keys, *start)


def test_gradcheck(rng):
    inputs = [torch.randn(5, 3, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(SigmoidPairLoss(0.5, -1.0).double(), inputs)


@pytest.mark.parametrize("learnable", [True, False])
def test_it_starts_at_its_settings(learnable, rng):
    queries, keys = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    found = SigmoidPairLoss(0.3, -2.0, learnable)(queries, keys)
    assert found.item() == pytest.approx(float(loop_sigmoid_pair(queries, keys, 0.3, -2.0)), rel=1e-6)


def test_only_a_learnable_loss_has_parameters():
    assert [name for name, _ in SigmoidPairLoss().named_parameters()] == ["log_scale", "bias"]
    assert list(SigmoidPairLoss(learnable=False).parameters()) == []


def test_refuses_fewer_keys_than_queries():
    with pytest.raises(ValueError, match="4 queries need at least 4 keys"):
        SigmoidPairLoss()(torch.ones(4, 2), torch.ones(3, 2))
