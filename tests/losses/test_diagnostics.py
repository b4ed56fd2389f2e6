"""Diagnostics: equal to loops over pairs; known values on collapse and on perfect spread; no gradient."""

import itertools
import math

import pytest
import torch
from reference.losses_prototypes import kernel_matrix
from torch.nn import functional as F

from medgraph.losses import diagnostics


@pytest.fixture
def embeddings(rng):
    return torch.randn(12, 4, generator=rng, dtype=torch.float64)


def test_uniformity_is_the_mean_kernel_of_unit_vectors(embeddings):
    unit = F.normalize(embeddings, dim=1)
    off_diagonal = kernel_matrix(unit, unit, 0.25)[~torch.eye(12, dtype=torch.bool)]
    torch.testing.assert_close(diagnostics.uniformity(3 * embeddings), off_diagonal.mean().log())


def test_alignment_is_two_minus_twice_the_cosine(embeddings):
    other = embeddings.flip(1)
    expected = (2 - 2 * F.cosine_similarity(embeddings, other)).mean()
    torch.testing.assert_close(diagnostics.alignment(embeddings, other), expected)


def test_tolerance_is_the_mean_cosine_within_labels(embeddings, rng):
    labels = torch.randint(7, (12,), generator=rng)
    cosines = [
        F.cosine_similarity(embeddings[i], embeddings[j], dim=0)
        for i, j in itertools.combinations(range(12), 2)
        if labels[i] == labels[j]
    ]
    torch.testing.assert_close(diagnostics.tolerance(embeddings, labels), torch.stack(cosines).mean())


def test_tolerance_without_a_pair_is_zero():
    assert diagnostics.tolerance(torch.eye(3), torch.arange(3)).item() == 0


def test_spectrum_is_that_of_the_covariance(embeddings):
    expected = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0)) ** 2 / 11
    torch.testing.assert_close(diagnostics.spectrum(embeddings), expected)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_effective_rank_counts_equal_directions(rank):
    basis = torch.eye(4, dtype=torch.float64)[:rank]
    assert diagnostics.effective_rank(torch.cat([basis, -basis])).item() == pytest.approx(rank)


def test_effective_rank_is_of_singular_values():
    rows = torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    shares = torch.tensor([4.0, 2.0, 1.0]) / 7
    assert diagnostics.effective_rank(torch.cat([rows, -rows])).item() == pytest.approx(
        torch.special.entr(shares).sum().exp().item()
    )


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_effective_rank_does_not_depend_on_the_scale(scale):
    rows = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    assert diagnostics.effective_rank(scale * rows).item() == pytest.approx(diagnostics.effective_rank(rows).item())


def test_effective_rank_of_collapsed_embeddings_is_zero():
    assert diagnostics.effective_rank(torch.full((5, 3), 0.5)).item() == 0


def test_entropy_runs_from_hard_to_uniform_codes():
    assert diagnostics.entropy(torch.eye(5)).item() == 0
    assert diagnostics.entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    assert diagnostics.entropy(torch.tensor([[0.25, 0.75]])).item() == pytest.approx(0.5623351446)


def test_used_share_counts_best_prototypes():
    assert diagnostics.used_share(torch.eye(4)[[0, 0, 2]]).item() == 0.5


def test_positive_share_is_the_softmax_on_the_diagonal(embeddings):
    keys = embeddings + 0.1
    logits = F.normalize(embeddings, dim=1) @ F.normalize(keys, dim=1).T / 0.2
    expected = logits.softmax(dim=1).diagonal().mean()
    torch.testing.assert_close(diagnostics.positive_share(embeddings, keys, 0.2), expected)


def test_nothing_carries_a_gradient(embeddings):
    embeddings.requires_grad_()
    values = [
        diagnostics.uniformity(embeddings),
        diagnostics.alignment(embeddings, embeddings),
        diagnostics.tolerance(embeddings, torch.zeros(12, dtype=torch.long)),
        diagnostics.spectrum(embeddings),
        diagnostics.effective_rank(embeddings),
        diagnostics.entropy(embeddings.softmax(dim=1)),
        diagnostics.positive_share(embeddings, embeddings, 0.1),
    ]
    assert not any(value.requires_grad for value in values)


def test_hardness_is_the_entropy_over_other_keys(rng):
    queries, keys = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    scores = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / 0.2
    shares = scores.fill_diagonal_(-torch.inf).softmax(dim=1)
    expected = torch.special.entr(shares).sum(dim=1).mean()
    torch.testing.assert_close(diagnostics.hardness(queries, keys, 0.2), expected)
    assert diagnostics.hardness(torch.ones(6, 3), torch.ones(6, 3), 0.2).item() == pytest.approx(math.log(5), abs=1e-4)
