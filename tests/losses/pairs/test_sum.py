import math

import pytest
import torch
from reference.pairs import loop_sum

from medgraph.losses.pairs import pair_sum, terms

N, M = 8, 6
PHI = {
    "identity": lambda x: x,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "square": lambda x: x * x,
    "relu": lambda x: max(x, 0.0),
    "exp": math.exp,
}
Y, W = torch.tensor([0, 1, 2, 0, 1, 2, 3, 0]), torch.tensor([0, 1, 1, 2, 0, 5])


def randn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("backend", ["auto", "dense", "tiled"])
@pytest.mark.parametrize("phi", PHI)
def test_equals_loop(phi, backend, rng):
    q, k, offset, log_weight = randn(rng, N, 3), randn(rng, M, 3), randn(rng, N), randn(rng, M)
    both = (terms.ExcludeSameId(Y, W), terms.ColumnLogWeight(log_weight))
    found = pair_sum(q, k, phi=phi, scale=1.5, offset=offset, terms=both, tile=3, backend=backend)
    expected = loop_sum(q, k, PHI[phi], 1.5, offset, lambda i, j: bool(Y[i] != W[j]) * math.exp(log_weight[j]))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize("tile", [1, 7, N, N + 3])
def test_gradients_equal_dense(tile, phi, rng):
    inputs = (randn(rng, N, 3), randn(rng, M, 3), randn(rng, N), randn(rng, N).exp(), randn(rng, M), randn(rng, M))
    found = []
    for backend in ("dense", "tiled"):
        leaves = [x.clone().requires_grad_() for x in inputs]
        q, k, offset, scale, bias, log_weight = leaves
        both = (terms.OnlyNegatives(Y, W), terms.ColumnLogWeight(log_weight))
        total = pair_sum(
            q, k, phi=phi, offset=offset, scale=scale, col_bias=bias, terms=both, tile=tile, backend=backend
        )
        found.append(torch.autograd.grad((total * torch.arange(N)).sum(), leaves))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "chosen",
    [(), (terms.OnlyPositives(Y, W),), (terms.OnlyNegatives(Y, W),), (terms.ExcludeSameId(Y, W),)],
    ids=["all", "positives", "negatives", "ids"],
)
def test_sums_of_scores_are_linear_and_equal_dense(chosen, rng, monkeypatch):
    inputs = (randn(rng, N, 3), randn(rng, M, 3), randn(rng, N), randn(rng, M))
    found = []
    for backend in ("dense", "auto"):
        leaves = [x.clone().requires_grad_() for x in inputs]
        q, k, a, b = leaves
        total = pair_sum(q, k, phi="identity", scale=2.0, row_bias=a, col_bias=b, terms=chosen, backend=backend)
        found.append((total, *torch.autograd.grad((total * torch.arange(N)).sum(), leaves)))
        monkeypatch.setattr("medgraph.losses.pairs.sum.dense.scores", None)  # "auto" must not form the matrix
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("phi", ["identity", "square"])
def test_no_query_and_no_key_give_no_sum(phi):
    none, q = torch.empty(0, dtype=torch.long), torch.empty(0, 3, requires_grad=True)
    for term in (terms.OnlyPositives(none), terms.OnlyNegatives(none), terms.ExcludeSameId(none)):
        found = pair_sum(q, phi=phi, terms=(term,))
        assert found.shape == (0,)
        assert found.requires_grad


@pytest.mark.parametrize("backend", ["dense", "tiled"])
def test_a_removed_pair_counts_zero_even_if_its_value_overflows(backend):
    q = torch.tensor([[100.0], [0.5]]).requires_grad_()
    total = pair_sum(q, phi="exp", terms=(terms.ExcludeSameId(torch.arange(2)),), tile=1, backend=backend)
    assert total.isfinite().sum() == 2
    (0 * total[0] + total[1]).backward()
    assert q.grad.isfinite().all()


def test_gradcheck(rng):
    q, k = randn(rng, 4, 2).requires_grad_(), randn(rng, 3, 2).requires_grad_()
    scale = torch.tensor(1.5).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q, k, scale: pair_sum(q, k, phi="softplus", scale=scale, tile=2, backend="tiled"), (q, k, scale)
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"phi": "cube"}, "phi: expected one of 'identity'"),
        ({"phi": "exp", "backend": "gpu"}, "backend: expected one of"),
        ({"phi": "exp", "offset": torch.ones(3)}, r"offset: expected shape \(2,\), got \(3,\)"),
        ({"phi": "exp", "tile": 0, "backend": "tiled"}, "tile: expected 1 or more"),
    ],
)
def test_names_what_does_not_fit(arguments, text):
    with pytest.raises(ValueError, match=text):
        pair_sum(torch.ones(2, 2), **arguments)


def test_a_scale_that_float32_cannot_hold_is_not_rounded(rng):
    z = torch.randn(6, 4, generator=rng, dtype=torch.float64)
    expected = (z @ z.T / 0.3).exp().sum(1)
    for backend in ("dense", "tiled"):
        torch.testing.assert_close(pair_sum(z, phi="exp", scale=1 / 0.3, backend=backend), expected, rtol=1e-13, atol=0)
