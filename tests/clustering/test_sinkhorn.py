"""Sinkhorn codes: equal to scaling the matrix, balanced, and finite in every precision."""

import pytest
import torch
from reference.losses_prototypes import matrix_sinkhorn
from spawned import run_in_processes
from torch.nn import functional as F

from medgraph.clustering.sinkhorn import balance, sinkhorn


def _scores(rng, n=64, k=16, dim=16, dtype=torch.float64):
    vectors = F.normalize(torch.randn(n + k, dim, generator=rng, dtype=dtype), dim=1)
    return vectors[:n] @ vectors[n:].T


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_equals_scaling_the_matrix(epsilon, iterations, rng):
    scores = _scores(rng, n=11, k=5)
    expected = matrix_sinkhorn(scores, epsilon, iterations)
    torch.testing.assert_close(sinkhorn(scores, epsilon, iterations), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dim", [16, 32, 64, 128])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_row_sums_to_one_and_columns_become_equal(dim, seed):
    """Rows come last: columns are off by up to half after 3 rounds, and exact in the end."""
    scores = _scores(torch.Generator().manual_seed(seed), n=256, k=64, dim=dim, dtype=torch.float32)
    few, many = sinkhorn(scores), sinkhorn(scores, iterations=50)
    torch.testing.assert_close(few.sum(dim=1), torch.ones(256), rtol=0, atol=1e-6)
    assert ((few.sum(dim=0) - 4).abs() < 0.8 * 4).all()
    assert ((few.sum(dim=0) - 4).abs() > 1e-3).any()
    torch.testing.assert_close(many.sum(dim=0), torch.full((64,), 4.0), rtol=0, atol=1e-4)


def test_constant_scores_give_uniform_codes():
    torch.testing.assert_close(sinkhorn(torch.full((7, 4), 0.9)), torch.full((7, 4), 0.25))


def test_identical_embeddings_give_uniform_codes(rng):
    scores = _scores(rng, n=1, k=6).expand(9, 6)
    torch.testing.assert_close(sinkhorn(scores), torch.full((9, 6), 1 / 6, dtype=torch.float64))


def test_permuting_examples_or_prototypes_permutes_the_codes(rng):
    scores = _scores(rng)
    rows, columns = torch.randperm(64, generator=rng), torch.randperm(16, generator=rng)
    torch.testing.assert_close(sinkhorn(scores[rows][:, columns]), sinkhorn(scores)[rows][:, columns])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("epsilon", [0.05, 0.01, 0.001])
def test_stays_finite_from_low_precision_scores(dtype, epsilon, rng):
    scores = _scores(rng).to(dtype)
    scores[0] = 1.0  # exp(1 / 0.01) overflows float32
    codes = sinkhorn(scores, epsilon=epsilon)
    assert codes.dtype == torch.float32
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(64))


def test_half_precision_equals_the_same_scores_in_float64(rng):
    scores = _scores(rng).half()
    torch.testing.assert_close(sinkhorn(scores).double(), sinkhorn(scores.double()), rtol=1e-4, atol=1e-6)


def test_codes_carry_no_gradient(rng):
    assert not sinkhorn(_scores(rng).requires_grad_()).requires_grad


def test_one_example_is_spread_over_all_prototypes():
    torch.testing.assert_close(sinkhorn(torch.tensor([[1.0, 0.0, -1.0]])), torch.full((1, 3), 1 / 3))


def test_columns_come_to_the_shares_asked_for(rng):
    scores, shares = _scores(rng, n=120, k=5), torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0])
    codes = sinkhorn(scores, iterations=500, column_weights=shares)
    torch.testing.assert_close(codes.sum(dim=0), 12 * shares.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(120, dtype=torch.float64))


def test_a_row_of_weight_two_counts_like_two_rows(rng):
    scores = _scores(rng, n=7, k=4)
    weights = torch.tensor([2.0] + 6 * [1.0])
    for iterations in (1, 3):
        twice = sinkhorn(torch.cat([scores, scores[:1]]), iterations=iterations)
        weighted = sinkhorn(scores, iterations=iterations, row_weights=weights)
        torch.testing.assert_close(weighted, twice[:7], rtol=0, atol=1e-12)
        assert not torch.allclose(sinkhorn(scores, iterations=iterations), twice[:7])


def test_a_row_without_weight_moves_no_other(rng):
    scores = _scores(rng, n=7, k=4)
    codes = sinkhorn(scores, row_weights=torch.tensor(6 * [1.0] + [0.0]))
    torch.testing.assert_close(codes[:6], sinkhorn(scores[:6]))
    torch.testing.assert_close(codes[6].sum(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("weighted", [False, True])
def test_streaming_equals_the_whole_matrix(weighted, rng):
    vectors = F.normalize(torch.randn(600, 8, generator=rng, dtype=torch.float64), dim=1)
    z, prototypes = vectors[:450], vectors[450:]  # more pairs than the whole matrix is used for
    options = {}
    if weighted:
        options = {"row_weights": torch.rand(450, generator=rng), "column_weights": torch.rand(150, generator=rng)}
    codes = (z @ prototypes.T / 0.05 + balance(z, prototypes, **options)).softmax(dim=1)
    torch.testing.assert_close(codes, sinkhorn(z @ prototypes.T, **options), rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_processes_balance_together(tmp_path):
    run_in_processes("reference.clustering_checks", "check_sinkhorn", 3, tmp_path)


def test_refuses_wrong_arguments():
    negative = torch.tensor([1.0, -1.0])
    with pytest.raises(ValueError, match="row_weights: expected 2 numbers of 0 or more"):
        sinkhorn(torch.ones(2, 3), row_weights=negative)
    with pytest.raises(ValueError, match="column_weights: expected 2 numbers of 0 or more"):
        balance(torch.ones(3, 1), torch.ones(2, 1), column_weights=negative)
    with pytest.raises(ValueError, match="epsilon: expected a number above 0, got 0"):
        sinkhorn(torch.ones(2, 2), epsilon=0.0)
    with pytest.raises(ValueError, match="iterations: expected 1 or more, got 0"):
        sinkhorn(torch.ones(2, 2), iterations=0)
    with pytest.raises(ValueError, match=r"at least one example and one prototype with weight, got shape \(0, 3\)"):
        sinkhorn(torch.ones(0, 3))


@pytest.mark.parametrize("row", [[torch.nan, 0.0], [0.0, torch.inf], [-torch.inf, -torch.inf]])
def test_names_the_rows_that_are_no_scores(row):
    scores = torch.tensor([[0.0, 1.0], row, [1.0, 0.0]])
    with pytest.raises(ValueError, match="scores: NaN or infinity in 1 of 3 embeddings, rows 1"):
        sinkhorn(scores)


def test_a_score_of_minus_infinity_bars_an_example_from_a_prototype(rng):
    scores = _scores(rng, n=9, k=3)
    scores[2, 1] = -torch.inf
    codes = sinkhorn(scores, iterations=10)
    assert codes[2, 1] == 0
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(9, dtype=torch.float64))
