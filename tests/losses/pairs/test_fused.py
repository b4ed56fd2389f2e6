"""The fused kernels, run by Triton's interpreter, against the whole matrix: values and every gradient."""

import subprocess
import sys
import warnings

import pytest
import torch
from reference.pair_terms import CASES, M, N, integers, randn
from torch.nn import functional as F

from medgraph.losses import pairs
from medgraph.losses.pairs import fused, terms

pytest.importorskip("triton")

REAL_TILES = fused.TILES


def run(call, backend, inputs, dtype):
    """Values and gradients of a fixed projection of call(backend, *inputs)."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    out = call(backend, *leaves)
    out = out if isinstance(out, tuple) else (out,)
    total = sum((x.masked_fill(x == -torch.inf, 0) * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in out)
    return out, torch.autograd.grad(total, leaves)


def assert_same(call, *inputs, rtol=2e-6):
    """The kernels in float32 against the whole matrix in float64."""
    expected, expected_gradients = run(call, "dense", inputs, torch.float64)
    found, gradients = run(call, "triton", inputs, torch.float32)
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x.double(), y, rtol=1e-6, atol=2e-5)
    for x, y in zip(gradients, expected_gradients, strict=True):
        assert (x.double() - y).norm() <= rtol * y.norm()
        assert y.norm() > 0


def embeddings(rng, num, dim):
    return F.normalize(randn(rng, num, dim), dim=1)


@pytest.fixture(autouse=True)
def _larger_tiles(monkeypatch):
    """Fewer steps for the interpreter, still several tiles each way; the real sizes have a test of their own."""
    monkeypatch.setattr(fused, "TILES", {wide: {"ROWS": 128, "COLUMNS": 128} for wide in (False, True)})
    fused.warn_once.cache_clear()


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("dim", [32, 48, 128])
def test_rectangular_with_everything_equals_dense(dim, columns, rng):
    query_ids, key_ids = integers(rng, 50, N), integers(rng, 50, M) - 1

    def call(backend, q, k, c, a, b, w):
        heads = ((1.0, ()), (0.5, (terms.ColumnLogWeight(w),)), (0.0, ()))
        common = (terms.ExcludeSameId(query_ids, key_ids), terms.ColumnLogWeight(w))
        return pairs.pair_lse(
            q, k, scale=c, row_bias=a, col_bias=b, terms=common, heads=heads, columns=columns, backend=backend
        )

    inputs = embeddings(rng, N, dim), embeddings(rng, M, dim), 5 + 5 * torch.rand(N, generator=rng)
    assert_same(call, *inputs, randn(rng, N), randn(rng, M), randn(rng, M))


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("dim", [32, 48, 128])
def test_self_contrast_equals_dense(dim, columns, rng):
    ids = torch.arange(N) % 150

    def call(backend, z, c, a):
        heads = ((1.0, ()), (2.0, (terms.OnlyNegatives(ids % 7),)))
        exclude = (terms.ExcludeSameId(ids),)
        return pairs.pair_lse(
            z, scale=c, row_bias=a, col_bias=a, terms=exclude, heads=heads, columns=columns, backend=backend
        )

    assert_same(call, embeddings(rng, N, dim), torch.tensor(10.0), randn(rng, N))


@pytest.mark.parametrize("case", CASES)
def test_each_term_equals_dense(case, rng):
    term = CASES[case](rng)

    def call(backend, q, k, c):
        return pairs.pair_lse(q, k, scale=c, terms=(term,), backend=backend)

    assert fused.why_not(torch.float32, (term,)) is None
    assert_same(call, embeddings(rng, N, 32), embeddings(rng, M, 32), torch.tensor(8.0), rtol=5e-6)


@pytest.mark.parametrize("case", ["codes", "floor", "weight"])
def test_terms_of_one_head_leave_the_others_alone(case, rng):
    term = CASES[case](rng)

    def call(backend, q, k, c):
        heads = ((1.0, ()), (0.5, (term,)))
        return pairs.pair_lse(q, k, scale=c, heads=heads, columns=True, backend=backend)

    assert_same(call, embeddings(rng, N, 32), embeddings(rng, M, 32), torch.tensor(8.0))


@pytest.mark.parametrize(("num", "other"), [(1, 1), (1, 129), (128, 128), (129, 127), (130, 1)])
def test_any_number_of_rows_and_columns(num, other, rng):
    def call(backend, q, k, c):
        return pairs.pair_lse(q, k, scale=c, columns=True, backend=backend)

    assert_same(call, randn(rng, num, 5), randn(rng, other, 5), torch.tensor(1.5))


@pytest.mark.parametrize("dim", [1, 64, 200, 300])
def test_any_width_in_tiles_of_the_real_size(dim, rng, monkeypatch):
    monkeypatch.setattr(fused, "TILES", REAL_TILES)

    def call(backend, q, k, c):
        return pairs.pair_lse(q, k, scale=c, columns=True, backend=backend)

    assert_same(call, randn(rng, 70, dim) / dim**0.5, randn(rng, 75, dim) / dim**0.5, torch.tensor(3.0))


@pytest.mark.parametrize("columns", [False, True])
def test_empty_rows_and_columns_give_zero_gradient(columns, rng):
    query_ids, key_ids = integers(rng, 2, 70), integers(rng, 2, 90)
    key_ids[7], query_ids[5] = -1, 9
    labels, key_labels = torch.where(query_ids == 0, 0, 1), torch.zeros(90, dtype=torch.long)
    q, k = randn(rng, 70, 8).requires_grad_(), randn(rng, 90, 8).requires_grad_()
    removed = (terms.ExcludeSameId(query_ids, key_ids), terms.OnlyPositives(labels, key_labels))
    out = pairs.pair_lse(q, k, terms=removed, columns=columns, backend="triton")
    rows = out[0] if columns else out
    assert torch.equal(rows[0] == -torch.inf, labels == 1)
    total = rows[rows.isfinite()].sum()
    if columns:
        assert out[1][0, 7] == -torch.inf
        total = total + out[1][out[1].isfinite()].sum()
    total.backward()
    assert (q.grad[labels == 1] == 0).all()
    assert (k.grad[7] == 0).all()
    assert q.grad.isfinite().all()
    assert k.grad.isfinite().all()


def test_a_matrix_without_any_pair_gives_zero_gradient(rng):
    z = randn(rng, 70, 4).requires_grad_()
    same = (terms.ExcludeSameId(torch.zeros(70, dtype=torch.long)),)
    lse = pairs.pair_lse(z, terms=same, backend="triton")
    assert (lse == -torch.inf).all()
    lse.sum().backward()
    assert (z.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_embeddings_keep_float32_sums(dtype, rng):
    inputs = [embeddings(rng, n, 48).to(dtype) for n in (N, M)]
    found = []
    for backend, kind in (("dense", torch.float64), ("triton", dtype)):
        q, k = (x.to(kind).requires_grad_() for x in inputs)
        rows, columns = pairs.pair_lse(q, k, scale=10.0, columns=True, backend=backend)
        found.append((rows, columns, *torch.autograd.grad(rows.mean() + columns.mean(), (q, k))))
    (rows, columns, dq, dk), (fused_rows, fused_columns, fused_dq, fused_dk) = found
    assert fused_rows.dtype == torch.float32
    assert fused_dq.dtype == fused_dk.dtype == dtype
    torch.testing.assert_close(fused_rows.double(), rows, rtol=0, atol=1e-5)
    torch.testing.assert_close(fused_columns.double(), columns, rtol=0, atol=1e-5)
    for x, y in ((fused_dq, dq), (fused_dk, dk)):
        assert (x.double() - y).norm() / y.norm() < (6e-3 if dtype == torch.bfloat16 else 6e-4)


@pytest.mark.parametrize("norm", [1.0, 100.0])
def test_extreme_scores_stay_finite(norm, rng):
    z = embeddings(rng, 70, 4) * norm
    z[35:] = z[35]  # identical embeddings
    z.requires_grad_()
    exclude = (terms.ExcludeSameId(torch.arange(70)),)
    lse = pairs.pair_lse(z, scale=1 / 0.005, terms=exclude, backend="triton")
    assert lse.isfinite().all()
    lse.mean().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_single_precision_is_close_to_double(temperature, rng):
    z = embeddings(rng, 400, 32)
    exclude = (terms.ExcludeSameId(torch.arange(400)),)
    found = []
    for backend, dtype in (("dense", torch.float64), ("triton", torch.float32)):
        x, c = z.to(dtype).requires_grad_(), torch.tensor(1 / temperature, dtype=dtype).requires_grad_()
        loss = pairs.pair_lse(x, scale=c, terms=exclude, backend=backend).mean()
        found.append((loss.double(), *(g.double() for g in torch.autograd.grad(loss, (x, c)))))
    (double, expected, expected_scale), (single, gradient, scale) = found
    assert abs(single - double) < 1e-5
    assert (gradient - expected).norm() / expected.norm() < 1e-6
    assert abs(scale - expected_scale) / abs(expected_scale) < 1e-6


def test_runs_are_reproducible_to_the_last_bit(rng):
    q, k = randn(rng, N, 16).requires_grad_(), randn(rng, M, 16).requires_grad_()
    runs = []
    for _ in range(2):
        rows, columns = pairs.pair_lse(q, k, columns=True, backend="triton")
        runs.append((rows, columns, *torch.autograd.grad(rows.mean() + columns.mean(), (q, k))))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_a_second_backward_gives_the_same_gradient(rng):
    z = randn(rng, 70, 3).requires_grad_()
    loss = pairs.pair_lse(z, backend="triton").sum()
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    (second,) = torch.autograd.grad(loss, z)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        (lambda: terms.LowRankBias(torch.ones(9, 2), torch.ones(9, 2)), "LowRankBias"),
        (lambda: terms.LabelDistance(torch.arange(9), None, lambda d: d > 2), "LabelDistance"),
        (lambda: terms.CodeDisagreement(torch.arange(9)[:, None].expand(9, 9)), "CodeDisagreement"),
    ],
)
def test_unknown_terms_run_on_tiles_with_one_warning(term, reason, rng):
    z = randn(rng, 9, 3)
    expected = pairs.pair_lse(z, terms=(term(),), backend="dense")
    with pytest.warns(UserWarning, match=f"does not know the pair terms {reason} as used here; working on tiles"):
        found = pairs.pair_lse(z, terms=(term(),), backend="triton")
    torch.testing.assert_close(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs.pair_lse(z, terms=(term(),), backend="triton")


def test_double_precision_runs_on_tiles(rng):
    z = randn(rng, 9, 3).double()
    with pytest.warns(UserWarning, match=r"does not know torch.float64 embeddings"):
        found = pairs.pair_lse(z, backend="triton")
    torch.testing.assert_close(found, pairs.pair_lse(z, backend="dense"))


def test_no_pairs_at_all_give_empty_sums():
    rows, columns = pairs.pair_lse(torch.ones(0, 3), torch.ones(4, 3), columns=True, backend="triton")
    assert rows.shape == (1, 0)
    assert (columns == -torch.inf).all()


def test_known_terms_never_reach_other_backends(rng, monkeypatch):
    monkeypatch.setattr(pairs.lse, "tiled_lse", None)
    monkeypatch.setattr(pairs.lse, "dense_lse", None)
    pairs.pair_lse(randn(rng, 9, 3), terms=(terms.ExcludeSameId(torch.arange(9)),), backend="triton")


def test_says_how_to_install_triton(monkeypatch):
    fused._kernels.cache_clear()
    monkeypatch.setattr(fused, "is_installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match="pip install triton"):
        pairs.pair_lse(torch.ones(3, 2), backend="triton")


COMPILED = """
import torch
from medgraph.losses.pairs import pair_lse
try:
    pair_lse(torch.ones(3, 2), backend="triton")
except ValueError as error:
    assert 'backend="triton" needs tensors on a GPU' in str(error)
else:
    raise SystemExit("ran compiled kernels on the CPU")
"""


@pytest.mark.slow
def test_compiled_kernels_need_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    subprocess.run([sys.executable, "-c", COMPILED], check=True)
