"""InterpolatedScorer: equal to the additive scorer in value and gradient, with as many nodes as its range needs."""

import pytest
import torch
from torch.nn import functional as F

from medgraph.losses.pairs import pair_lse
from medgraph.losses.pairs.interpolated import MOST_NODES, InterpolatedScorer, additive_scorer
from medgraph.losses.pairs.terms import AdditiveScorer
from medgraph.losses.pairs.tiled import Block

ALL = Block(0, 7, 0, 9)


def factors(rng, scale, dtype=torch.float64):
    u, v = (scale * (2 * torch.rand(n, 5, generator=rng, dtype=dtype) - 1) for n in (7, 9))
    return u, 3 * v, torch.randn(5, generator=rng, dtype=dtype), torch.tensor(0.3, dtype=dtype)


def naive(u, v, weight, bias):
    return F.logsigmoid(torch.tanh(u[:, None] + v[None]) @ weight + bias)


@pytest.mark.parametrize(("scale", "dtype"), [(0.01, torch.float64), (0.5, torch.float64), (1.4, torch.float32)])
def test_it_equals_a_tanh_per_pair_with_all_gradients(scale, dtype, rng):
    inputs, upstream = factors(rng, scale, dtype), torch.randn(7, 9, generator=rng, dtype=dtype)
    found = []
    for function in (lambda *x: additive_scorer(*x).tile(ALL), naive):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        found.append((out, *torch.autograd.grad(out, leaves, upstream)))
    assert isinstance(additive_scorer(*inputs), InterpolatedScorer)
    tolerance = {"rtol": 1e-11, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 2e-6}
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, **tolerance)


def test_a_wide_range_takes_more_nodes_and_then_a_division_per_pair(rng):
    nodes = []
    for scale in (0.01, 0.3, 1.0):
        u, v, weight, bias = factors(rng, scale, torch.float32)
        (rows,) = additive_scorer(u, v, weight, bias).row_factors
        nodes.append(rows.shape[1] // 5)
    assert nodes == sorted(set(nodes))
    assert nodes[-1] <= MOST_NODES
    for u, v, weight, bias in (factors(rng, 3.0), factors(rng, 0.1, torch.bfloat16)):
        assert isinstance(additive_scorer(u, v, weight, bias), AdditiveScorer)
    u, v, weight, bias = factors(rng, 0.5)
    assert isinstance(additive_scorer(u * torch.nan, v, weight, bias), AdditiveScorer)


@pytest.mark.parametrize("backend", ["dense", "tiled"])
def test_a_contrast_with_it_equals_one_with_the_additive_scorer(backend, rng):
    q, k = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    inputs = (*(0.4 * torch.randn(9, 5, generator=rng, dtype=torch.float64) for _ in "uv"), *factors(rng, 1.0)[2:])
    found = []
    for scorer in (additive_scorer, AdditiveScorer):
        leaves = [x.clone().requires_grad_() for x in (q, k, *inputs)]
        heads = ((1.0, ()), (0.0, ()))
        out = pair_lse(*leaves[:2], terms=(scorer(*leaves[2:]),), heads=heads, backend=backend, tile=4)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


def test_a_tile_is_computed_once_for_value_and_gradient(rng):
    term = additive_scorer(*factors(rng, 0.5))
    first = term.tile(ALL)
    assert term.tile(ALL).data_ptr() == first.data_ptr()
    assert term.tile(Block(0, 7, 0, 9)).data_ptr() != first.data_ptr()  # another block, though of the same place
