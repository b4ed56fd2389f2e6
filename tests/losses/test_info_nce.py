"""InfoNCE: equal to a loop, both directions, with smoothing and a learnable temperature."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_info_nce
from torch.nn import functional as F

from medgraph.losses.info_nce import InfoNCE


@pytest.mark.parametrize(("symmetric", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.2), (True, 0.2)])
@pytest.mark.parametrize("num_keys", [9, 12])
def test_equals_loop(symmetric, smoothing, num_keys, any_tile, rng):
    queries = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    keys = torch.randn(num_keys, 3, generator=rng, dtype=torch.float64)
    loss = InfoNCE(0.5, symmetric=symmetric, label_smoothing=smoothing)
    assert_equal_with_gradients(loss, lambda q, k: loop_info_nce(q, k, 0.5, symmetric, smoothing), queries, keys)


def test_equals_cross_entropy(rng):
    queries, keys = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / 0.1
    expected = F.cross_entropy(logits, torch.arange(7), label_smoothing=0.3)
    torch.testing.assert_close(InfoNCE(0.1, label_smoothing=0.3)(queries, keys), expected)


def test_reordering_examples_changes_nothing(rng):
    queries, keys = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(InfoNCE()(queries[order], keys[order]), InfoNCE()(queries, keys))


def test_learnable_temperature_receives_the_gradient_of_the_logarithm(any_tile, rng):
    queries, keys = torch.randn(2, 6, 4, generator=rng, dtype=torch.float64)
    loss = InfoNCE(0.2, symmetric=True, learnable_temperature=True).double()
    loss(queries, keys).backward()
    log_scale = loss.log_scale.detach().clone().requires_grad_()
    expected = loop_info_nce(queries, keys, (-log_scale).exp(), symmetric=True)
    (gradient,) = torch.autograd.grad(expected, log_scale)
    torch.testing.assert_close(loss.log_scale.grad, gradient, rtol=1e-10, atol=1e-12)


def test_learnable_scale_stays_below_its_limit():
    loss = InfoNCE(0.1, learnable_temperature=True)
    torch.nn.init.constant_(loss.log_scale, 50.0)
    eye = torch.eye(3)
    torch.testing.assert_close(loss(eye, -eye), InfoNCE(0.01)(eye, -eye))


def test_learnable_scale_comes_back_from_beyond_its_limit():
    loss = InfoNCE(0.1, learnable_temperature=True)
    torch.nn.init.constant_(loss.log_scale, 50.0)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e-3)
    eye = torch.eye(3)
    loss(eye, -eye).backward()  # wrong pairs, which want a scale of 0
    assert loss.log_scale.item() == pytest.approx(math.log(100))
    optimizer.step()
    assert loss.log_scale.item() < math.log(100) - 0.01


def test_one_example_has_loss_zero(rng):
    queries, keys = torch.randn(2, 1, 4, generator=rng)
    assert InfoNCE()(queries, keys).item() == pytest.approx(0.0, abs=1e-6)


def test_half_precision_stays_finite(rng):
    queries, keys = torch.randn(2, 6, 4, generator=rng).bfloat16()
    assert InfoNCE(0.005)(100 * queries, keys).isfinite()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_refuses_a_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        InfoNCE(temperature)


def test_refuses_a_learnable_temperature_beyond_the_limit():
    with pytest.raises(ValueError, match=r"temperature: expected 0\.01 or more"):
        InfoNCE(0.001, learnable_temperature=True)


def test_refuses_fewer_keys_than_queries():
    with pytest.raises(ValueError, match="4 queries need at least 4 keys"):
        InfoNCE()(torch.ones(4, 2), torch.ones(3, 2))
