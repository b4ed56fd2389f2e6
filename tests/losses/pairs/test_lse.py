import pytest
import torch
from reference.pairs import loop_lse

from medgraph.losses.pairs import pair_lse
from medgraph.losses.pairs.terms import CodeDisagreement, ColumnLogWeight, ExcludeSameId


def test_equals_loop(rng):
    q, k = torch.randn(7, 3, generator=rng, dtype=torch.float64), torch.randn(5, 3, generator=rng, dtype=torch.float64)
    a, b = torch.randn(7, generator=rng, dtype=torch.float64), torch.randn(5, generator=rng, dtype=torch.float64)
    c = torch.rand(7, generator=rng, dtype=torch.float64) + 0.5
    rows, columns = pair_lse(q, k, scale=c, row_bias=a, col_bias=b, columns=True, heads=((1.0, ()), (0.5, ())))
    for head, alpha in enumerate((1.0, 0.5)):
        expected = torch.tensor(loop_lse(q, k, c, a, b, alpha=alpha), dtype=torch.float64)
        torch.testing.assert_close(rows[head], expected, rtol=0, atol=1e-12)
    x = (c[:, None] * (q @ k.T) + a[:, None] + b).T
    torch.testing.assert_close(columns[0], x.logsumexp(1), rtol=0, atol=1e-12)


def test_a_head_with_alpha_zero_gives_the_total_weight(rng):
    z, weights = torch.randn(6, 4, generator=rng), torch.rand(6, generator=rng)
    lse = pair_lse(z, terms=(ColumnLogWeight(weights.log()),), heads=((0.0, ()),))
    torch.testing.assert_close(lse[0], weights.sum().log().expand(6))


def test_a_scale_that_float32_cannot_hold_is_not_rounded(rng):
    z = torch.randn(6, 4, generator=rng, dtype=torch.float64)
    expected = (z @ z.T / 0.3).logsumexp(1)
    for backend in ("dense", "tiled"):
        torch.testing.assert_close(pair_lse(z, scale=1 / 0.3, backend=backend)[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("backend", ["dense", "tiled"])
@pytest.mark.parametrize(
    "term", [ExcludeSameId(torch.zeros(3, dtype=torch.long)), CodeDisagreement(torch.zeros(3, 2, dtype=torch.long))]
)
def test_an_empty_row_is_minus_infinity_with_zero_gradient(term, backend, rng):
    q = torch.randn(3, 4, generator=rng).requires_grad_()
    lse = pair_lse(q, terms=(term,), backend=backend)
    assert (lse == -torch.inf).all()
    lse.masked_fill(lse == -torch.inf, 0).sum().backward()
    assert (q.grad == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"q": torch.ones(3, dtype=torch.long)}, TypeError, "floating-point embeddings"),
        ({"q": torch.ones(3)}, ValueError, r"expected shape \(examples, dim\)"),
        ({"q": torch.ones(3, 2), "k": torch.ones(3, 4)}, ValueError, "width 2 but k has width 4"),
        ({"q": torch.ones(3, 2), "scale": torch.ones(2)}, ValueError, "one per query"),
        ({"q": torch.ones(3, 2), "row_bias": torch.ones(4)}, ValueError, r"row_bias: expected shape \(3,\)"),
        ({"q": torch.ones(3, 2), "heads": ((-1.0, ()),)}, ValueError, "alpha 0 or more"),
        ({"q": torch.ones(3, 2), "backend": "cuda"}, ValueError, "backend: expected one of"),
        ({"q": torch.tensor([[1.0], [torch.nan]])}, ValueError, "NaN or infinity in 1 of 2 embeddings, rows 1"),
        ({"q": torch.tensor([[torch.inf], [1.0]])}, ValueError, "NaN or infinity in 1 of 2 embeddings, rows 0"),
        (
            {"q": torch.ones(3, 2), "terms": (ExcludeSameId(torch.arange(2)),)},
            ValueError,
            "ExcludeSameId: holds 2 entries for 3 queries",
        ),
    ],
)
def test_names_what_does_not_fit(arguments, error, text):
    with pytest.raises(error, match=text):
        pair_lse(**arguments)
