"""Each term against its meaning, one pair at a time, and its tiles against the whole matrix."""

import math

import pytest
import torch
from reference.pairs import loop_lse
from torch.nn import functional as F

from medgraph.losses.pairs import pair_lse, terms
from medgraph.losses.pairs.distances import LogDistance

N, M, D = 8, 6, 3
RNG = torch.Generator().manual_seed(5)


def randn(*shape):
    return torch.randn(*shape, generator=RNG, dtype=torch.float64)


Q, K, SCALE = randn(N, D), randn(M, D), 1.5
X = SCALE * Q @ K.T
Y, W = torch.tensor([0, 1, 2, 0, 1, 2, 3, 0]), torch.tensor([0, 1, 1, 2, 0, 5])
AGE, KEY_AGE = randn(N), randn(M)
CODES, KEY_CODES = torch.randint(0, 2, (N, 3), generator=RNG), torch.randint(0, 2, (M, 3), generator=RNG)
LOG_WEIGHT, TABLE, FLOOR = randn(M), randn(4, 6), randn(N)
GUIDE, KEY_GUIDE = randn(N, 2), randn(M, 2)
COSINE = F.normalize(GUIDE, dim=1) @ F.normalize(KEY_GUIDE, dim=1).T
U, V, HIDDEN, BIAS = randn(N, 4), randn(M, 4), randn(4), randn(())
SPARSE = torch.tensor([0, 0, 2, 5]), torch.tensor([1, 4, 0, 5]), randn(4)
LISTED = {(int(i), int(j)): float(v) for i, j, v in zip(*SPARSE, strict=True)}


def scorer(i, j):
    return torch.sigmoid(HIDDEN @ torch.tanh(U[i] + V[j]) + BIAS)


def kernel(distance):
    return -(distance**2)


CASES = {
    "exclude_same_id": (lambda: terms.ExcludeSameId(Y, W), lambda i, j: Y[i] != W[j]),
    "exclude_empty_slots": (lambda: terms.ExcludeSameId(Y, W - 1), lambda i, j: Y[i] != W[j] - 1 and W[j] > 0),
    "only_negatives": (lambda: terms.OnlyNegatives(Y, W), lambda i, j: Y[i] != W[j]),
    "only_positives": (lambda: terms.OnlyPositives(Y, W), lambda i, j: Y[i] == W[j]),
    "require_equal": (lambda: terms.RequireEqual(Y, W), lambda i, j: Y[i] == W[j]),
    "disagreement": (
        lambda: terms.CodeDisagreement(CODES, KEY_CODES),
        lambda i, j: int((CODES[i] != KEY_CODES[j]).sum()),
    ),
    "column_log_weight": (lambda: terms.ColumnLogWeight(LOG_WEIGHT), lambda i, j: LOG_WEIGHT[j].exp()),
    "table": (lambda: terms.TableLogWeight(TABLE, Y, W), lambda i, j: TABLE[Y[i], W[j]].exp()),
    "label_distance": (
        lambda: terms.LabelDistance(AGE, KEY_AGE, kernel),
        lambda i, j: math.exp(-((AGE[i] - KEY_AGE[j]) ** 2)),
    ),
    "label_vectors": (
        lambda: terms.LabelDistance(GUIDE, KEY_GUIDE, lambda d: d > 1),
        lambda i, j: (GUIDE[i] - KEY_GUIDE[j]).norm() > 1,
    ),
    "score_floor": (lambda: terms.ScoreFloor(FLOOR), lambda i, j: X[i, j] >= FLOOR[i]),
    "score_ceil": (lambda: terms.ScoreCeil(FLOOR), lambda i, j: X[i, j] <= FLOOR[i]),
    "guide": (lambda: terms.Guide(GUIDE, KEY_GUIDE, 0.3), lambda i, j: COSINE[i, j] <= 0.3),
    "low_rank": (lambda: terms.LowRankBias(U, V), lambda i, j: (U[i] @ V[j]).exp()),
    "scorer": (lambda: terms.AdditiveScorer(U, V, HIDDEN, BIAS), scorer),
    "sparse": (lambda: terms.SparseBias(*SPARSE), lambda i, j: math.exp(LISTED.get((i, j), 0))),
}


@pytest.mark.parametrize("backend", ["dense", "tiled"])
@pytest.mark.parametrize("name", CASES)
def test_equals_its_meaning_pair_by_pair(name, backend):
    make, weight = CASES[name]
    lse, columns = pair_lse(Q, K, scale=SCALE, terms=(make(),), columns=True, tile=3, backend=backend)
    expected = torch.tensor([loop_lse(Q, K, SCALE, weight=weight)], dtype=torch.float64)
    torch.testing.assert_close(lse, expected, rtol=0, atol=1e-12)
    expected = torch.tensor([loop_lse(K, Q, SCALE, weight=lambda j, i: weight(i, j))], dtype=torch.float64)
    torch.testing.assert_close(columns, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: terms.ExcludeSameId(Y),
        lambda: terms.OnlyNegatives(Y, Y.clone()),
        lambda: terms.OnlyPositives(Y),
        lambda: terms.CodeDisagreement(CODES),
        lambda: terms.TableLogWeight(TABLE[:, :4] + TABLE[:, :4].T, Y),
        lambda: terms.LabelDistance(AGE, None, kernel),
    ],
)
def test_symmetric_terms_give_the_same_on_the_short_way(make):
    term = make()
    assert term.symmetric
    whole, leaf = Q.clone().requires_grad_(), Q.clone().requires_grad_()
    expected = pair_lse(whole, terms=(term,), backend="dense")
    lse = pair_lse(leaf, terms=(term,), tile=3, backend="tiled")
    torch.testing.assert_close(lse, expected, rtol=0, atol=1e-12)
    lse[lse.isfinite()].sum().backward()
    expected[expected.isfinite()].sum().backward()
    torch.testing.assert_close(leaf.grad, whole.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: terms.ScoreFloor(FLOOR), lambda: terms.Guide(GUIDE, None, 0.3)])
def test_self_contrast_without_symmetry_equals_dense(make):
    expected = pair_lse(Q, terms=(make(),), backend="dense")
    torch.testing.assert_close(pair_lse(Q, terms=(make(),), tile=3, backend="tiled"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_distances_of_narrow_labels_do_not_wrap(dtype):
    first, second = torch.tensor([3, 10, 120]), torch.tensor([4, 12, 127])
    first, second = (torch.where(x > 100, -x, x) if dtype.is_signed else x for x in (first, second))
    found = terms.LabelDistance(first.to(dtype), second.to(dtype), LogDistance())
    expected = terms.LabelDistance(first, second, LogDistance())
    x = torch.zeros(3, 1, dtype=torch.float64)
    torch.testing.assert_close(pair_lse(x, terms=(found,)), pair_lse(x, terms=(expected,)))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    "make",
    [
        terms.ColumnLogWeight,
        lambda w: terms.TableLogWeight(w.expand(8, -1), Y, W),
        lambda w: terms.SparseBias(torch.arange(M), torch.arange(M), w),
    ],
)
def test_log_weights_that_are_no_weights_are_refused(make, wrong):
    weight = torch.full((M,), -torch.inf)
    assert pair_lse(Q, K, terms=(make(weight),)).shape == (1, N)
    weight[2] = wrong
    with pytest.raises(ValueError, match=rf"expected log-weights that are numbers or -inf, got {wrong}"):
        pair_lse(Q, K, terms=(make(weight),))


LEARNABLE = {
    "column": (terms.ColumnLogWeight, (LOG_WEIGHT,)),
    "table": (lambda table: terms.TableLogWeight(table, Y, W), (TABLE,)),
    "low_rank": (terms.LowRankBias, (U, V)),
    "scorer": (terms.AdditiveScorer, (U, V, HIDDEN, BIAS)),
    "sparse": (lambda values: terms.SparseBias(*SPARSE[:2], values), (SPARSE[2],)),
}


@pytest.mark.parametrize("in_head", [False, True])
@pytest.mark.parametrize("name", LEARNABLE)
def test_learnable_terms_have_the_gradient_of_dense(name, in_head):
    make, factors = LEARNABLE[name]
    found = []
    for backend in ("dense", "tiled"):
        leaves = [x.clone().requires_grad_() for x in (Q, K, *factors)]
        term = make(*leaves[2:])
        assert term.learnable
        heads = ((1.0, (term,)), (2.0, ())) if in_head else ((1.0, ()), (2.0, ()))
        shared = () if in_head else (term,)
        lse, columns = pair_lse(
            *leaves[:2], terms=(terms.ExcludeSameId(Y, W), *shared), heads=heads, columns=True, tile=3, backend=backend
        )
        loss = (lse * torch.arange(N)).sum() + columns.square().sum()
        found.append(torch.autograd.grad(loss, leaves))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


def test_a_learnable_term_on_self_contrast_has_the_gradient_of_dense():
    found = []
    for backend in ("dense", "tiled"):
        z, hidden = Q.clone().requires_grad_(), U.clone().requires_grad_()
        term = terms.AdditiveScorer(hidden, hidden, HIDDEN, BIAS)
        loss = (pair_lse(z, terms=(term,), tile=3, backend=backend) * torch.arange(N)).sum()
        found.append(torch.autograd.grad(loss, (z, hidden)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


def test_a_dense_bias_warns_and_equals_its_meaning():
    with pytest.warns(UserWarning, match="holds all 8 x 6 pairs"):
        term = terms.DenseBias(X.clone().requires_grad_())
    lse = pair_lse(Q, K, terms=(term,), tile=3, backend="tiled")
    torch.testing.assert_close(lse[0], (Q @ K.T + X).logsumexp(1), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(lse.sum(), term.row_factors)
    torch.testing.assert_close(gradient, (Q @ K.T + X).softmax(1), rtol=1e-10, atol=1e-12)


def test_wide_terms_get_smaller_tiles():
    from medgraph.losses.pairs.tiled import tile_size

    wide = terms.AdditiveScorer(torch.ones(2, 64), torch.ones(2, 64), torch.ones(64), torch.ones(()))
    wide.values_per_pair = 128
    assert tile_size(torch.device("cpu"), 1, ()) == 512
    assert tile_size(torch.device("cpu"), 1, (wide,)) ** 2 * 4 * 128 <= 8 * 2**20


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: terms.ExcludeSameId(AGE), "expected integers with 1 axes for the queries"),
        (lambda: terms.CodeDisagreement(CODES, KEY_CODES[:, :2]), "queries have 3 clusterings, keys 2"),
        (lambda: terms.ColumnLogWeight(TABLE), r"expected one number per key \(m,\)"),
        (lambda: terms.SparseBias(SPARSE[0], SPARSE[1], randn(3)), "need one entry per pair"),
    ],
)
def test_says_what_a_term_expects(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.filterwarnings("ignore:DenseBias")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: terms.ScoreFloor(randn(5)), "ScoreFloor: holds 5 entries for 8 queries"),
        (lambda: terms.ColumnLogWeight(randn(5)), "ColumnLogWeight: holds 5 entries for 6 keys"),
        (lambda: terms.SparseBias(SPARSE[0].flip(0), *SPARSE[1:]), "rows must ascend"),
        (lambda: terms.SparseBias(SPARSE[0], SPARSE[1] + 9, SPARSE[2]), "columns must lie from 0 to 5, got 14"),
        (lambda: terms.DenseBias(randn(2, 2)), r"DenseBias: expected shape \(8, 6\), got \(2, 2\)"),
    ],
)
def test_says_which_term_does_not_fit_the_matrix(make, text):
    with pytest.raises(ValueError, match=text):
        pair_lse(Q, K, terms=(make(),))


@pytest.mark.parametrize("term", [terms.ExcludeSameId, terms.OnlyNegatives, terms.OnlyPositives])
def test_no_query_or_no_key_is_no_mistake(term, rng):
    x, some, none = torch.randn(3, 2, generator=rng), torch.arange(3), torch.arange(0)
    assert pair_lse(x[:0], x, terms=(term(none, some),)).shape == (1, 0)
    assert (pair_lse(x, x[:0], terms=(term(some, none),)) == -torch.inf).all()
