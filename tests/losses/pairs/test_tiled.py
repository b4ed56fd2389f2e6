"""The tiles against double loops and against the whole matrix."""

import subprocess
import sys

import pytest
import torch
from reference.pairs import loop_lse
from torch.nn import functional as F

from medgraph.losses.pairs import pair_lse
from medgraph.losses.pairs.terms import CodeDisagreement, ColumnLogWeight, ExcludeSameId

N, M = 9, 6
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def randn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def both(inputs, call):
    """Value and gradients of a random projection of call(backend, *inputs), for dense and tiled."""
    found = []
    for backend in ("dense", "tiled"):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        out = call(backend, *leaves)
        out = out if isinstance(out, tuple) else (out,)
        total = sum((x.masked_fill(x == -torch.inf, 0) * torch.arange(1, x.numel() + 1).view_as(x)).sum() for x in out)
        found.append((out, torch.autograd.grad(total, leaves)))
    return found


def assert_same(found):
    (dense, dense_gradients), (tiled, tiled_gradients) = found
    for expected, x in zip(dense, tiled, strict=True):
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-12)
    for expected, x in zip(dense_gradients, tiled_gradients, strict=True):
        torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tile", [1, 7, N, N + 3])
def test_equals_loop(tile, rng):
    q, k, a, b = randn(rng, N, 3), randn(rng, M, 3), randn(rng, N), randn(rng, M)
    lse = pair_lse(q, k, scale=3.0, row_bias=a, col_bias=b, tile=tile, backend="tiled")
    expected = torch.tensor([loop_lse(q, k, 3.0, a, b)], dtype=torch.float64)
    torch.testing.assert_close(lse, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [1, 7, N, N + 3])
def test_self_contrast_equals_loop(tile, rng):
    z, codes = randn(rng, N, 3), torch.randint(0, 3, (N, 2), generator=rng)
    lse = pair_lse(z, scale=3.0, terms=(CodeDisagreement(codes),), tile=tile, backend="tiled")
    expected = loop_lse(z, z, 3.0, weight=lambda i, j: (codes[i] != codes[j]).sum())
    torch.testing.assert_close(lse, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("tile", [1, 7, N, N + 3])
def test_gradients_of_all_inputs_equal_dense(tile, columns, rng):
    inputs = (
        randn(rng, N, 3),
        randn(rng, M, 3),
        torch.rand(N, generator=rng).double() + 1,
        randn(rng, N),
        randn(rng, M),
    )

    def call(backend, q, k, c, a, b):
        heads = ((1.0, ()), (2.0, ()), (0.0, (ColumnLogWeight(b),)))
        return pair_lse(q, k, scale=c, row_bias=a, col_bias=b, heads=heads, columns=columns, tile=tile, backend=backend)

    assert_same(both(inputs, call))


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("tile", [1, 7, N, N + 3])
def test_gradients_of_self_contrast_equal_dense(tile, columns, rng):
    ids = torch.tensor([0, 1, 2, 0, 1, 2, 3, 4, 5])

    def call(backend, z, c, a):
        heads = ((1.0, ()), (0.5, (ExcludeSameId(ids),)))
        return pair_lse(z, scale=c, row_bias=a, col_bias=a, heads=heads, columns=columns, tile=tile, backend=backend)

    assert_same(both((randn(rng, N, 3), torch.tensor(2.0).double(), randn(rng, N)), call))


def test_empty_rows_and_columns_give_zero_gradient(rng):
    query_ids, key_ids = torch.tensor([0, 0, 1]), torch.tensor([0, 0, -1])
    q, k = randn(rng, 3, 2).requires_grad_(), randn(rng, 3, 2).requires_grad_()
    terms = (ExcludeSameId(query_ids, key_ids),)
    rows, columns = pair_lse(q, k, terms=terms, columns=True, tile=2, backend="tiled")
    assert rows.isfinite().tolist() == [[False, False, True]]
    assert columns.isfinite().tolist() == [[True, True, False]]
    (rows[rows.isfinite()].sum() + columns[columns.isfinite()].sum()).backward()
    assert (q.grad[:2] == 0).all()
    assert (k.grad[2] == 0).all()
    assert q.grad.isfinite().all()


def test_a_matrix_without_any_pair_gives_zero_gradient(rng):
    z = randn(rng, 5, 2).requires_grad_()
    lse = pair_lse(z, terms=(ExcludeSameId(torch.zeros(5, dtype=torch.long)),), tile=2, backend="tiled")
    assert (lse == -torch.inf).all()
    lse.sum().backward()
    assert (z.grad == 0).all()


@pytest.mark.parametrize("backend", ["dense", "tiled"])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", [1.0, 100.0])
def test_extreme_scores_stay_finite(norm, dtype, columns, backend, rng):
    z = F.normalize(torch.randn(11, 4, generator=rng), dim=1) * norm
    z[5:] = z[5]  # identical embeddings
    q, k = z.clone().to(dtype).requires_grad_(), z.flip(0).to(dtype).requires_grad_()
    for keys in (k, None):
        terms = (ExcludeSameId(torch.arange(11)),)
        out = pair_lse(q, keys, scale=1 / 0.005, terms=terms, columns=columns, tile=4, backend=backend)
        out = torch.stack(out) if columns else out
        assert out.dtype == torch.float32
        assert out.isfinite().all()
        out.mean().backward()
    assert q.grad.isfinite().all()
    assert k.grad.isfinite().all()


def test_rows_of_very_different_size_keep_their_gradient(rng):
    """Sums so far apart that one exponential cannot serve rows and columns together."""
    inputs = (randn(rng, N, 3) * torch.logspace(-2, 2, N).double()[:, None], torch.tensor(1.0).double())
    ids = torch.arange(N)

    def call(backend, z, c):
        return pair_lse(z, scale=c, terms=(ExcludeSameId(ids),), columns=True, tile=2, backend=backend)

    (dense, dense_gradients), (tiled, tiled_gradients) = both(inputs, call)
    assert dense[0].max() - dense[0].min() > 600
    torch.testing.assert_close(tiled, dense, **EXACT)
    torch.testing.assert_close(tiled_gradients, dense_gradients, rtol=1e-10, atol=1e-8)


def test_gradcheck(rng):
    q, k = randn(rng, 5, 2).requires_grad_(), randn(rng, 4, 2).requires_grad_()
    c, a, b = (
        torch.tensor(1.5).double().requires_grad_(),
        randn(rng, 5).requires_grad_(),
        randn(rng, 4).requires_grad_(),
    )

    def rectangular(q, k, c, a, b):
        return pair_lse(q, k, scale=c, row_bias=a, col_bias=b, columns=True, tile=3, backend="tiled")

    def triangular(q, c, a):
        return pair_lse(q, scale=c, row_bias=a, col_bias=a, tile=2, backend="tiled")

    assert torch.autograd.gradcheck(rectangular, (q, k, c, a, b))
    assert torch.autograd.gradcheck(triangular, (q, c, a))


def test_a_second_backward_gives_the_same_gradient(rng):
    z = randn(rng, N, 3).requires_grad_()
    loss = pair_lse(z, tile=4, backend="tiled").sum()
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    (second,) = torch.autograd.grad(loss, z)
    assert torch.equal(first, second)


def test_runs_are_reproducible_to_the_last_bit(rng):
    z = torch.randn(1500, 16, generator=rng).requires_grad_()
    runs = []
    for _ in range(2):
        lse = pair_lse(z, scale=2.0, terms=(ExcludeSameId(torch.arange(1500)),))
        runs.append((lse, *torch.autograd.grad(lse.mean(), z)))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_single_precision_is_close_to_double(temperature, rng):
    z = F.normalize(torch.randn(4096, 128, generator=rng), dim=1)
    exclude = (ExcludeSameId(torch.arange(4096)),)
    found = []
    for dtype in (torch.float32, torch.float64):
        x, scale = z.to(dtype).requires_grad_(), torch.tensor(1 / temperature, dtype=dtype).requires_grad_()
        loss = pair_lse(x, scale=scale, terms=exclude, backend="tiled").mean()
        found.append((loss.double(), *(g.double() for g in torch.autograd.grad(loss, (x, scale)))))
    (single, gradient, scale_gradient), (double, expected, expected_scale) = found
    assert abs(single - double) < 1e-5
    assert (gradient - expected).norm() / expected.norm() < 1e-6
    assert abs(scale_gradient - expected_scale) / abs(expected_scale) < 1e-6


def test_reduced_precision_contexts_do_not_reach_the_sums(rng):
    z = torch.randn(9, 4, generator=rng).requires_grad_()
    expected = pair_lse(z, tile=4, backend="tiled")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pair_lse(z, tile=4, backend="tiled")
        (gradient,) = torch.autograd.grad(found.sum(), z)
    assert torch.equal(found, expected)
    assert torch.equal(gradient, torch.autograd.grad(expected.sum(), z)[0])


def test_tile_must_be_at_least_one():
    with pytest.raises(ValueError, match="tile: expected 1 or more"):
        pair_lse(torch.ones(2, 2), tile=0, backend="tiled")


MEMORY = """
import resource, torch
torch.set_num_threads(1)
from medgraph.losses.pairs import pair_lse
from medgraph.losses.pairs.terms import ExcludeSameId
def run(n):
    z = torch.randn(n, 128).requires_grad_()
    pair_lse(z, terms=(ExcludeSameId(torch.arange(n)),), backend="tiled").mean().backward()
run(64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(16384)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_is_linear():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 150  # MiB; the matrix alone would take 1024
