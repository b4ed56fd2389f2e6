"""Alignment: the two views of an example lie close together."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs
from medgraph.losses.loss import Loss


class Alignment(Loss):
    """Mean distance between the two views of each example [1].

    mean_i |z_i - z'_i|^power / (2 bandwidth)

    Embeddings are used as they are, not normalized. No example gives 0.

    [1] Wang and Isola, 2020, arXiv:2005.10242, Eq. 4.

    Args:
        bandwidth: Variance of the Gaussian kernel of the matching `Uniformity`; larger weakens the pull.
        power: Exponent of the distance; 1 cares less than 2 for views that lie far apart.
        dist: "gather" or "ring" (alike here) weights processes by their number of examples; None does not.

    Example:
        >>> Alignment(bandwidth=0.5)(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).item()
        25.0
    """

    def __init__(self, bandwidth: float = 0.5, power: float = 2.0, dist: str | None = None):
        super().__init__()
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.power = checks.at_least("power", power, 1.0)
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        inputs.check_rows(first=first, second=second)
        inputs.same_width(first=first, second=second)
        dtype = torch.promote_types(first.dtype, torch.float32)
        difference = first.to(dtype) - second.to(dtype)
        if self.power == 2:
            distances = difference.square().sum(dim=1)
        else:
            distances = torch.linalg.vector_norm(difference, dim=1).pow(self.power)
        num = max(everyone.count(first, self.dist), 1)
        return everyone.world(self.dist) * distances.sum() / (2 * self.bandwidth * num)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, power={self.power}"
