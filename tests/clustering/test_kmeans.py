"""Spherical k-means: equal to a loop; the objective never falls; empty clusters; seeds; blocks."""

import itertools

import pytest
import torch
from reference.losses_prototypes import loop_kmeans
from spawned import run_in_processes
from torch.nn import functional as F

from medgraph.clustering import kmeans
from medgraph.clustering.kmeans import several_kmeans, spherical_kmeans


def _seed(number=5):
    return torch.Generator().manual_seed(number)


def _objective(x, centroids):
    return (F.normalize(x, dim=1) @ centroids.T).max(dim=1).values.sum().item()


def test_equals_loop(rng):
    x = torch.randn(40, 3, generator=rng, dtype=torch.float64)
    start = F.normalize(x[torch.randperm(40, generator=_seed())[:6]], dim=1)
    labels, centroids = spherical_kmeans(x, 6, 4, rng=_seed())
    expected_labels, expected_centroids = loop_kmeans(x, start, 4)
    assert labels.tolist() == expected_labels
    torch.testing.assert_close(centroids, torch.tensor(expected_centroids, dtype=torch.float64))


@pytest.mark.parametrize("empty", ["keep", "split"])
@pytest.mark.parametrize("start", ["random", "plus_plus"])
def test_objective_never_falls(start, empty, rng):
    x = torch.randn(80, 4, generator=rng, dtype=torch.float64)
    x = torch.cat([x, x[:1].expand(30, 4)])  # repeated rows make empty clusters
    values = [_objective(x, spherical_kmeans(x, 12, n, rng=_seed(), start=start, empty=empty)[1]) for n in range(1, 9)]
    assert all(later >= earlier - 1e-10 for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0]


def test_block_size_does_not_matter(rng, monkeypatch):
    x = torch.randn(50, 4, generator=rng, dtype=torch.float64)
    labels, centroids = spherical_kmeans(x, 5, rng=_seed())
    for entries in (1, 35, 245):  # blocks of 1, 7 and 49 rows
        monkeypatch.setattr(kmeans, "_TILE_ENTRIES", entries)
        again_labels, again_centroids = spherical_kmeans(x, 5, rng=_seed())
        assert again_labels.tolist() == labels.tolist()
        torch.testing.assert_close(again_centroids, centroids)


@pytest.mark.parametrize("start", ["random", "plus_plus"])
def test_same_seed_same_result_and_unit_centroids(start, rng):
    x = torch.randn(60, 8, generator=rng)
    first, second = (spherical_kmeans(x, 7, rng=_seed(), start=start) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first[1].norm(dim=1), torch.ones(7))


def test_scaling_a_row_changes_no_label(rng):
    x = torch.randn(60, 8, generator=rng, dtype=torch.float64)
    scaled = x * (0.1 + 10 * torch.rand(60, 1, generator=rng, dtype=torch.float64))
    assert torch.equal(spherical_kmeans(x, 7, rng=_seed())[0], spherical_kmeans(scaled, 7, rng=_seed())[0])


def test_separated_clusters_are_found_and_stay(rng):
    truth = torch.arange(4).repeat_interleave(10)
    x = 20 * torch.eye(4)[truth] + torch.rand(40, 4, generator=rng)
    labels, centroids = spherical_kmeans(x, 4, rng=_seed(), start="plus_plus")
    assert len(set(zip(truth.tolist(), labels.tolist(), strict=True))) == 4
    assert torch.equal(centroids, spherical_kmeans(x, 4, 20, rng=_seed(), start="plus_plus")[1])


def test_an_empty_cluster_keeps_its_centroid():
    x = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    labels, centroids = spherical_kmeans(x, 3, rng=_seed())
    assert labels.tolist() == [0] * 4
    assert centroids.tolist() == [[1.0, 0.0]] * 3


def test_splitting_puts_an_empty_centroid_on_the_worst_row():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    seed = next(n for n in range(20) if set(torch.randperm(4, generator=_seed(n))[:2].tolist()) == {0, 1})
    assert spherical_kmeans(x, 2, 1, rng=_seed(seed), empty="keep")[1][1].tolist() == [1.0, 0.0]
    labels, centroids = spherical_kmeans(x, 2, 1, rng=_seed(seed), empty="split")
    assert centroids[1].tolist() == [0.0, 1.0]  # the worst row of the only cluster
    assert labels.tolist() == [0, 0, 0, 1]


def test_more_splits_than_rows_leave_single_rows_alone():
    x = torch.eye(2)[[0, 0, 1]]
    labels, _ = spherical_kmeans(x, 3, rng=_seed(), empty="split")
    assert labels[0] == labels[1] != labels[2]


def test_plus_plus_draws_distinct_rows_even_among_equal_ones():
    rows = kmeans._Rows.of(F.normalize(torch.ones(12, 2), dim=1), together=False)
    assert sorted(kmeans._distant_rows(rows, 12, _seed()).tolist()) == list(range(12))
    labels, centroids = spherical_kmeans(torch.ones(3, 2), 3, rng=_seed(), start="plus_plus")
    assert labels.tolist() == [0, 0, 0]
    torch.testing.assert_close(centroids, torch.full((3, 2), 0.5**0.5))


def test_rows_that_cancel_leave_the_centroid_finite():
    _, centroids = spherical_kmeans(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1, rng=_seed())
    assert centroids.abs().tolist() == [[1.0, 0.0]]


def test_half_precision_is_clustered_in_float32(rng):
    x = torch.randn(60, 8, generator=rng).half()
    labels, centroids = spherical_kmeans(x, 7, rng=_seed())
    assert centroids.dtype == torch.float32
    assert torch.equal(labels, spherical_kmeans(x.float(), 7, rng=_seed())[0])


def test_several_clusterings_start_differently(rng):
    x = torch.randn(60, 8, generator=rng)
    found = several_kmeans(x, (5, 5, 9), rng=_seed())
    assert [len(centroids) for _, centroids in found] == [5, 5, 9]
    assert not torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], spherical_kmeans(x, 5, rng=_seed())[1])


@pytest.mark.slow
def test_processes_cluster_together(tmp_path):
    run_in_processes("reference.clustering_checks", "check_kmeans", 3, tmp_path)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="k: expected from 1 to 3 centroids for 3 vectors, got 4"):
        spherical_kmeans(torch.ones(3, 2), 4, rng=_seed())
    with pytest.raises(ValueError, match="iterations: expected 1 or more, got 0"):
        spherical_kmeans(torch.ones(3, 2), 2, 0, rng=_seed())
    with pytest.raises(ValueError, match="empty: expected one of 'keep', 'split', got 'drop'"):
        spherical_kmeans(torch.ones(3, 2), 2, rng=_seed(), empty="drop")
    with pytest.raises(ValueError, match="start: expected one of 'random', 'plus_plus', got 'best'"):
        spherical_kmeans(torch.ones(3, 2), 2, rng=_seed(), start="best")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_names_the_rows_that_are_not_finite(value, rng):
    x = torch.randn(9, 3, generator=rng)
    x[4, 1] = x[7, 0] = value
    with pytest.raises(ValueError, match="x: NaN or infinity in 2 of 9 embeddings, rows 4, 7"):
        spherical_kmeans(x, 2, rng=_seed())
