"""k-means that assigns by the largest inner product with the plain mean of a cluster, as MEOW's authors run it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses.pairs.lse import refuse_not_finite


@torch.no_grad()
def inner_product_kmeans(
    x: Float[Tensor, "n d"], k: int, iterations: int = 20, restarts: int = 5, *, rng: torch.Generator
) -> tuple[Int[Tensor, " n"], Float[Tensor, "k d"]]:
    """Labels and unit centroids of the best of several runs of Lloyd's algorithm on inner products.

    While it runs, a centroid is the mean of its rows and keeps its length, so that wide clusters win fewer rows than
    in `spherical_kmeans`; the returned centroids are normalized. The best run has the largest sum of inner products.
    A run ends early once no label changes. Memory O(n k).

    Args:
        x: Unit rows.
        k: Number of centroids.
        iterations: Rounds of assignment and update at most.
        restarts: Runs from other starting rows.
        rng: Source of the starting rows.

    Raises:
        ValueError: A row is not finite, or there are fewer rows than centroids.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> labels, centroids = inner_product_kmeans(torch.eye(2).repeat(2, 1), 2, rng=rng)
        >>> bool(labels[0] == labels[2]), bool(labels[0] == labels[1])
        (True, False)
    """
    checks.at_least("iterations", iterations, 1)
    checks.at_least("restarts", restarts, 1)
    if not 1 <= k <= len(x):
        raise ValueError(f"k: expected from 1 to {len(x)} centroids for {len(x)} vectors, got {k}")
    refuse_not_finite("x", x.sum(dim=1, keepdim=True))
    runs = [_run(x, k, iterations, rng) for _ in range(restarts)]
    _, labels, centroids = max(runs, key=lambda run: run[0])
    return labels, F.normalize(centroids, dim=1)


def _run(x: Tensor, k: int, iterations: int, rng: torch.Generator) -> tuple[float, Tensor, Tensor]:
    centroids = x[torch.randperm(len(x), generator=rng, device=rng.device)[:k].to(x.device)]
    score, labels = (x @ centroids.T).max(dim=1)
    for _ in range(iterations):
        sums = torch.zeros_like(centroids).index_add_(0, labels, x)
        counts = torch.bincount(labels, minlength=k)[:, None]
        centroids = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
        before = labels
        score, labels = (x @ centroids.T).max(dim=1)
        if torch.equal(labels, before):
            break
    return float(score.sum()), labels, centroids
