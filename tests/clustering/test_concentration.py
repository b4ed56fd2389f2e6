"""Concentration: equal to a loop; mean is the temperature; small clusters and clusters without spread."""

import math

import pytest
import torch
from reference.losses_prototypes import loop_concentration
from torch.nn import functional as F

from medgraph.clustering.concentration import estimate_concentration


def _clusters(rng, sizes=(9, 1, 6, 4, 0, 7)):
    centroids = F.normalize(torch.randn(len(sizes), 4, generator=rng, dtype=torch.float64), dim=1)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    noise = torch.randn(len(labels), 4, generator=rng, dtype=torch.float64)
    return centroids[labels] + 0.2 * (labels[:, None] + 1) * noise, centroids, labels


@pytest.mark.parametrize("measure", ["distance", "similarity"])
@pytest.mark.parametrize("smoothing", [5.0, 10.0])
def test_equals_loop(measure, smoothing, rng):
    embeddings, centroids, labels = _clusters(rng)
    expected = loop_concentration(embeddings, centroids, labels.tolist(), 0.3, smoothing, measure)
    ours = estimate_concentration(embeddings, centroids, labels, 0.3, smoothing, measure)
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64))


def test_mean_is_the_temperature_and_nothing_carries_a_gradient(rng):
    embeddings, centroids, labels = _clusters(rng)
    ours = estimate_concentration(embeddings.requires_grad_(), centroids, labels, 0.3)
    assert ours.mean().item() == pytest.approx(0.3)
    assert (ours > 0).all()
    assert not ours.requires_grad


@pytest.mark.parametrize("measure", ["distance", "similarity"])
def test_no_cluster_leaves_the_percentiles_of_all(measure, rng):
    sizes = (1, 0, *range(4, 22))  # one member, none, and clusters of 4 to 21
    embeddings, centroids, labels = _clusters(rng, sizes)
    rows = F.normalize(embeddings, dim=1)
    near = (rows * centroids[labels]).sum(1)
    spread = (2 - 2 * near if measure == "distance" else near).clamp_min(0).sqrt()
    raw = torch.stack([spread[labels == k].mean() / math.log(n + 5) for k, n in enumerate(sizes) if n > 1])
    raw = torch.cat([raw, raw.max().repeat(2)])
    low, high = raw.quantile(0.1), raw.quantile(0.9)
    ours = estimate_concentration(embeddings, centroids, labels, 0.3, 5.0, measure)
    assert raw.max() / raw.min() > high / low
    assert ours.max() / ours.min() == pytest.approx(float(high / low))
    assert ours[0] == ours[1] == ours.max()
    assert ours.mean().item() == pytest.approx(0.3)


def test_unlabelled_examples_are_left_out(rng):
    embeddings, centroids, labels = _clusters(rng)
    more = torch.cat([embeddings, torch.randn(5, 4, generator=rng, dtype=torch.float64)])
    more_labels = torch.cat([labels, torch.full((5,), -100)])
    expected = estimate_concentration(embeddings, centroids, labels, 0.3)
    torch.testing.assert_close(estimate_concentration(more, centroids, more_labels, 0.3), expected)


def test_clusters_of_equal_members_get_a_positive_temperature(rng):
    embeddings, centroids, labels = _clusters(rng)
    embeddings = torch.where((labels == 0)[:, None], centroids[0], embeddings)
    ours = estimate_concentration(embeddings, centroids, labels, 0.3)
    assert ours.isfinite().all()
    assert (ours > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_gives_equal_members_no_spread(dtype, rng):
    members = torch.randn(12, 16, generator=rng, dtype=dtype).repeat_interleave(10, dim=0)
    labels = torch.arange(12).repeat_interleave(10)
    members[60:] += 0.3 * torch.randn(60, 16, generator=rng, dtype=dtype)
    rows = F.normalize(members, dim=1)
    centroids = F.normalize(torch.stack([rows[labels == k].mean(dim=0) for k in range(12)]), dim=1)
    ours = estimate_concentration(members, centroids, labels, 0.3)
    assert (ours[:6] == ours[6:].min()).all()  # as tight as the tightest of the others


def test_no_spread_anywhere_gives_the_temperature():
    ours = estimate_concentration(torch.eye(3), torch.eye(3), torch.arange(3), 0.2)
    assert ours.tolist() == pytest.approx([0.2] * 3)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        estimate_concentration(torch.eye(3), torch.eye(3), torch.arange(3), 0.0)
    with pytest.raises(ValueError, match="measure: expected one of 'distance', 'similarity', got 'dot'"):
        estimate_concentration(torch.eye(3), torch.eye(3), torch.arange(3), 0.1, measure="dot")
    with pytest.raises(ValueError, match=r"smoothing: expected 1\.0 or more, got 0\.5"):
        estimate_concentration(torch.eye(3), torch.eye(3), torch.arange(3), 0.1, smoothing=0.5)
