"""Spherical k-means: centroids on the unit sphere, assignment by the largest dot product."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks

_TILE_ENTRIES = 2**21  # scores held at a time, 8 MiB in float32


@torch.no_grad()
def spherical_kmeans(
    x: Float[Tensor, "n d"],
    k: int,
    iterations: int = 10,
    *,
    rng: torch.Generator,
    start: str = "random",
    empty: str = "keep",
) -> tuple[Int[Tensor, " n"], Float[Tensor, "k d"]]:
    """Labels and unit centroids that maximize  sum_i max_k <x_i / |x_i|, centroid_k>  [1], as in DeepCluster-v2 [2].

    Each iteration assigns every row to its best centroid and moves each centroid to the unit mean of its rows, summed
    in float64; a last assignment gives the labels. The sum above never falls. Scores exist one block of rows at a
    time, never (n, k); memory beyond x is one normalized copy of it.

    [1] Dhillon and Modha, 2001, doi:10.1023/A:1007612920971. [2] Caron et al., 2020, arXiv:2006.09882, appendix.

    Args:
        x: Vectors of any length but 0; half precision is clustered in float32.
        k: Number of centroids.
        iterations: Rounds of assignment and update.
        rng: Source of the starting centroids; the same state gives the same labels.
        start: "random", k distinct rows; or "plus_plus", rows drawn far from those already drawn.
        empty: What an empty centroid does: "keep" its place, or "split" the largest cluster at its worst row.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> labels, centroids = spherical_kmeans(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), 2, rng=rng)
        >>> bool(labels[0] == labels[2]), bool(labels[0] == labels[1])
        (True, False)
    """
    checks.at_least("iterations", iterations, 1)
    checks.one_of("start", start, ("random", "plus_plus"))
    checks.one_of("empty", empty, ("keep", "split"))
    if not 1 <= k <= len(x):
        raise ValueError(f"k: expected from 1 to {len(x)} centroids for {len(x)} vectors, got {k}")
    x = F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)
    centroids = x[_random_rows(x, k, rng) if start == "random" else _distant_rows(x, k, rng)]
    for _ in range(iterations):
        labels, best, sums, counts = _assign(x, centroids)
        length = sums.norm(dim=1, keepdim=True)  # 0 for an empty cluster, or one whose rows cancel: it stays
        centroids = torch.where(length > 0, sums / length.where(length > 0, 1), centroids).to(x.dtype)
        if empty == "split":
            centroids = _split_largest(x, centroids, labels, best, counts)
    return _assign(x, centroids)[0], centroids


def _assign(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Best centroid of each row, its score, and per centroid the sum (float64) and number of its rows."""
    k = len(centroids)
    sums = torch.zeros(centroids.shape, dtype=torch.float64, device=x.device)
    labels, best = [], []
    for rows in x.split(max(1, _TILE_ENTRIES // k)):
        score, label = (rows @ centroids.T).max(dim=1)
        sums.index_add_(0, label, rows.double())
        labels.append(label)
        best.append(score)
    every = torch.cat(labels)
    return every, torch.cat(best), sums, torch.bincount(every, minlength=k)


def _split_largest(x: Tensor, centroids: Tensor, labels: Tensor, best: Tensor, counts: Tensor) -> Tensor:
    """Put each empty centroid on the worst row of the cluster that is then the largest."""
    centroids, labels, counts = centroids.clone(), labels.clone(), counts.clone()
    for index in (counts == 0).nonzero().flatten().tolist():
        largest = counts.argmax()
        if counts[largest] < 2:
            break
        worst = best.where(labels == largest, torch.inf).argmin()
        centroids[index] = x[worst]
        labels[worst] = index
        counts[largest] -= 1
        counts[index] = 1
    return centroids


def _random_rows(x: Tensor, k: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(len(x), generator=rng, device=rng.device)[:k].to(x.device)


def _distant_rows(x: Tensor, k: int, rng: torch.Generator) -> Tensor:
    """k-means++: each next row with probability in proportion to its squared distance from the nearest one drawn."""
    uniform = torch.rand(k, generator=rng, device=rng.device, dtype=torch.float64).to(x.device)
    drawn: list[Tensor] = []
    weights = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for number in uniform:
        total = weights.cumsum(0)
        if total[-1] <= 0:  # fewer distinct rows than centroids: any row not yet drawn
            weights = torch.ones_like(weights).index_fill_(0, torch.stack(drawn), 0)
            total = weights.cumsum(0)
        row = torch.searchsorted(total, number * total[-1], right=True).clamp_max(len(x) - 1)
        drawn.append(row)
        weights = torch.minimum(weights, (1 - (x @ x[row]).double()).clamp_min(0))
        weights[row] = 0
    return torch.stack(drawn)
