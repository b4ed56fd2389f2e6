import pytest
import torch

from medgraph.losses.pairs.additive import additive_scores


def factors(rng, scale=1.0):
    u, v = (scale * torch.randn(n, 5, generator=rng, dtype=torch.float64) for n in (7, 9))
    return u, v, torch.randn(5, generator=rng, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)


def naive(u, v, weight, bias):
    return torch.tanh(u[:, None] + v[None]) @ weight + bias


@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])
def test_it_equals_a_tanh_per_pair_with_all_gradients(scale, rng):
    inputs = factors(rng, scale)
    upstream = torch.randn(7, 9, generator=rng, dtype=torch.float64)
    found = []
    for function in (additive_scores, naive):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        found.append((out, *torch.autograd.grad(out, leaves, upstream)))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_float32_stays_close_and_huge_inputs_stay_finite(rng):
    u, v, weight, bias = (x.float() for x in factors(rng, 2.0))
    torch.testing.assert_close(additive_scores(u, v, weight, bias), naive(u, v, weight, bias), rtol=1e-5, atol=1e-5)
    huge = (1e4 * u).requires_grad_()
    out = additive_scores(huge, v, weight, bias)
    out.sum().backward()
    assert out.isfinite().all()
    assert huge.grad.isfinite().all()
