import itertools

import pytest
import torch
from torch.nn import functional as F

from medgraph.clustering.inner_product_kmeans import inner_product_kmeans


def blobs(rng):
    centers = F.normalize(torch.randn(4, 6, generator=rng), dim=1)
    return F.normalize(centers.repeat_interleave(25, 0) + 0.05 * torch.randn(100, 6, generator=rng), dim=1)


def test_it_finds_separate_groups(rng):
    labels, centroids = inner_product_kmeans(blobs(rng), 4, restarts=10, rng=rng)
    groups = labels.view(4, 25)
    assert (groups == groups[:, :1]).all()
    assert len(groups[:, 0].unique()) == 4
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4))


def test_the_result_is_a_fixed_point_of_assigning_to_plain_means(rng):
    x = F.normalize(torch.randn(60, 5, generator=rng), dim=1)
    labels, _ = inner_product_kmeans(x, 5, iterations=200, restarts=1, rng=rng)
    means = torch.stack([x[labels == index].mean(0) if (labels == index).any() else x[0] * 0 for index in range(5)])
    assert torch.equal((x @ means.T).argmax(1), labels)


def test_more_restarts_are_never_worse_and_six_are_better(rng):
    x = F.normalize(torch.randn(80, 5, generator=rng), dim=1)

    def total(restarts):
        labels, _ = inner_product_kmeans(x, 8, restarts=restarts, rng=torch.Generator().manual_seed(4))
        means = torch.stack([x[labels == index].mean(0) for index in labels.unique()])
        return (x @ means.T).amax(1).sum()

    totals = [total(restarts) for restarts in range(1, 7)]
    assert all(later >= earlier - 1e-5 for earlier, later in itertools.pairwise(totals))
    assert totals[5] > totals[0] + 0.01


def test_more_centroids_than_rows_are_refused(rng):
    with pytest.raises(ValueError, match="k: expected from 1 to 3 centroids for 3 vectors, got 4"):
        inner_product_kmeans(torch.eye(3), 4, rng=rng)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_names_the_rows_that_are_not_finite(value, rng):
    x = F.normalize(torch.randn(9, 3, generator=rng), dim=1)
    x[4, 1] = value
    with pytest.raises(ValueError, match="x: NaN or infinity in 1 of 9 embeddings, rows 4"):
        inner_product_kmeans(x, 2, rng=rng)
