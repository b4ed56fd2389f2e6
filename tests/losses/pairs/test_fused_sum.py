"""The fused kernels of `pair_sum`, run by Triton's interpreter, against the whole matrix: values and every gradient."""

import pytest
import torch
from reference.pair_terms import CASES, M, N, integers, randn

from medgraph.losses.pairs import fused, pair_sum, terms, tuning
from medgraph.losses.pairs.sum import FUNCTIONS

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def _larger_tiles(monkeypatch):
    """Fewer steps for the interpreter, still several tiles each way."""
    monkeypatch.setattr(fused, "TILES", {wide: {"ROWS": 128, "COLUMNS": 128} for wide in (False, True)})


def assert_same(call, *inputs, rtol=2e-6):
    """The kernels in float32 against the whole matrix in float64."""
    found = {}
    for backend, dtype in (("dense", torch.float64), ("triton", torch.float32)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
        sums = call(backend, *leaves)
        weights = torch.linspace(-1, 2, len(sums))
        found[backend] = (sums.detach(), *torch.autograd.grad((sums * weights).sum(), leaves))
    for x, y in zip(found["triton"], found["dense"], strict=True):
        assert x.dtype == torch.float32
        assert (x.double() - y).norm() <= rtol * y.norm()
        assert y.norm() > 0


@pytest.mark.parametrize("dim", [32, 48, 128])
@pytest.mark.parametrize("phi", FUNCTIONS)
def test_every_function_and_input_equals_dense(phi, dim, rng):
    ids, key_ids = integers(rng, 50, N), integers(rng, 50, M) - 1

    def call(backend, q, k, c, o, b, w):
        both = (terms.ExcludeSameId(ids, key_ids), terms.ColumnLogWeight(w))
        return pair_sum(q, k, phi=phi, scale=c, offset=o, col_bias=b, terms=both, backend=backend)

    inputs = randn(rng, N, dim) / dim**0.5, randn(rng, M, dim) / dim**0.5, 1 + torch.rand(N, generator=rng)
    assert_same(call, *inputs, randn(rng, N), randn(rng, M), randn(rng, M))


@pytest.mark.parametrize("case", CASES)
def test_each_term_equals_dense(case, rng):
    term = CASES[case](rng)

    def call(backend, q, k, c):
        return pair_sum(q, k, phi="softplus", scale=c, terms=(term,), backend=backend)

    assert_same(call, randn(rng, N, 32) / 5, randn(rng, M, 32) / 5, torch.tensor(2.0), rtol=5e-6)


@pytest.mark.parametrize(("num", "other"), [(1, 1), (1, 129), (129, 127), (130, 1)])
def test_any_number_of_rows_and_columns(num, other, rng):
    def call(backend, q, k):
        return pair_sum(q, k, phi="exp", scale=0.5, backend=backend)

    assert_same(call, randn(rng, num, 5), randn(rng, other, 5))


def test_self_contrast_and_wide_embeddings(rng):
    ids = torch.arange(70)

    def call(backend, z):
        return pair_sum(z, phi="square", terms=(terms.ExcludeSameId(ids),), backend=backend)

    assert_same(call, randn(rng, 70, 300) / 17)


def test_a_small_softplus_keeps_its_digits(rng):
    z = torch.tensor([[1.0], [-1.0]])
    found = pair_sum(z, -30 * z[:1], phi="softplus", backend="triton")
    torch.testing.assert_close(found[0].item(), 9.357622968839299e-14, rtol=1e-5, atol=0)


def test_a_removed_pair_counts_zero_even_if_its_value_is_large(rng):
    q = torch.tensor([[8.0], [0.5]]).requires_grad_()
    total = pair_sum(q, phi="exp", terms=(terms.ExcludeSameId(torch.arange(2)),), backend="triton")
    torch.testing.assert_close(total, torch.full((2,), 4.0).exp())


def test_half_precision_embeddings_keep_float32_sums(rng):
    q, k = (randn(rng, n, 16).bfloat16().requires_grad_() for n in (70, 90))
    expected = pair_sum(q.double(), k.double(), phi="softplus", backend="dense")
    found = pair_sum(q, k, phi="softplus", backend="triton")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.autograd.grad(found.sum(), q)[0].dtype == torch.bfloat16


def test_no_keys_give_zero():
    assert (pair_sum(torch.ones(3, 2), torch.ones(0, 2), phi="exp", backend="triton") == 0).all()


def test_tiles_by_timing_give_the_same_and_are_timed_once_in_a_bucket_of_shapes(rng, monkeypatch):
    timed = []
    monkeypatch.setattr(fused, "SMALLER", {False: ({"ROWS": 64, "COLUMNS": 32},)})
    monkeypatch.setattr(tuning, "_chosen", {})
    monkeypatch.setattr(tuning, "_seconds", lambda run: (run(), timed.append(run), -len(timed))[2])  # the last one wins
    for num in (70, 100):  # both below 128
        z = randn(rng, num, 8).requires_grad_()
        total = pair_sum(z, phi="softplus", backend="triton", deterministic=False)
        expected = pair_sum(z, phi="softplus", backend="triton")
        torch.testing.assert_close(total, expected)
        for x, y in zip(torch.autograd.grad(total.sum(), z), torch.autograd.grad(expected.sum(), z), strict=True):
            torch.testing.assert_close(x, y)
        assert len(timed) == 2 * 3  # two tiles of three kernels
