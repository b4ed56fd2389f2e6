"""Concentration: how tight each cluster is, as a temperature for its centroid."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks


@torch.no_grad()
def estimate_concentration(
    embeddings: Float[Tensor, "n d"],
    centroids: Float[Tensor, "k d"],
    labels: Int[Tensor, " n"],
    temperature: float,
    smoothing: float = 10.0,
    measure: str = "distance",
) -> Float[Tensor, " k"]:
    """Temperature of each centroid (phi of [1]): small for a tight cluster, which then pulls its members harder.

    raw_k = mean over members of |z_i - centroid_k|, divided by log(size_k + smoothing). Clusters of at most one member
    take the largest raw value; all are clipped to the 10th and 90th percentile and rescaled to the mean `temperature`.

    [1] Li et al., 2021, arXiv:2005.04966.

    Args:
        embeddings: One row per example; normalized here.
        centroids: Unit rows.
        labels: Cluster of each example; -100 leaves it out.
        temperature: Mean of the result.
        smoothing: Keeps small clusters from looking tight; larger trusts sizes less.
        measure: "distance"; or "similarity", the square root of the inner product, as the reference code of MEOW does:
            tight clusters then pull less.

    Example:
        >>> points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.6, -0.8], [-0.8, 0.6], [-0.8, -0.6]])
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> phi = estimate_concentration(points, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), labels, temperature=0.5)
        >>> round(phi.mean().item(), 4), bool(phi[0] < phi[1])
        (0.5, True)
    """
    checks.positive("temperature", temperature)
    checks.at_least("smoothing", smoothing, 1.0)
    checks.one_of("measure", measure, ("distance", "similarity"))
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    rows = F.normalize(embeddings[labels != -100].to(dtype), dim=1)
    labels = labels[labels != -100]
    centers = centroids.to(dtype)
    similarity = (rows * centers[labels]).sum(dim=1)
    spread = (2 - 2 * similarity if measure == "distance" else similarity).clamp_min(0).sqrt()
    # The root turns the rounding of a similarity, some eps, into a distance that equal members do not have.
    spread = spread.masked_fill(spread < 4 * torch.finfo(dtype).eps ** 0.5, 0)
    sizes = torch.bincount(labels, minlength=len(centers))
    total = torch.zeros(len(centers), dtype=torch.float64, device=rows.device).index_add_(0, labels, spread.double())
    raw = total / sizes.clamp_min(1) / torch.log(sizes.double() + smoothing)
    known = (sizes > 1) & (raw > 0)
    if not known.any():
        return torch.full_like(centers[:, 0], temperature)
    # Clusters of equal members have no spread; a temperature of 0 cannot divide, so they are as tight as the tightest.
    raw = raw.where(raw > 0, raw[known].min()).where(sizes > 1, raw[known].max())
    low, high = raw.quantile(0.1), raw.quantile(0.9)
    clipped = raw.clamp(low, high)
    return (temperature * clipped / clipped.mean()).to(dtype)
