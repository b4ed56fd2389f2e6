"""JointEntropy: raise the joint entropy of two parts of an embedding (SepCLR's k-JEM)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs


class JointEntropy(nn.Module):
    """Minus the kernel estimate of the joint entropy of the common and the salient part, up to a constant [1].

    mean_i log mean_j exp(-|c_i - c_j|^2 / (2 common_bandwidth) - |s_i - s_j|^2 / (2 salient_bandwidth)),  j = i too.

    From -log n to 0. Two examples repel only if they are close in both parts; once the salient parts are far apart on
    the scale of their bandwidth nothing moves any more, see `self_share`. Embeddings are used as they are.
    No example gives 0.

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        common_bandwidth: Variance of the kernel on the common part; smaller feels only near neighbors.
        salient_bandwidth: The same for the salient part.
        include_self: Whether j = i counts; without it the loss has no floor, and needs two examples.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> round(JointEntropy()(torch.eye(2), torch.eye(2)).item(), 4)
        -0.675
    """

    def __init__(
        self,
        common_bandwidth: float = 0.5,
        salient_bandwidth: float = 0.5,
        include_self: bool = True,
        dist: str | None = None,
    ):
        super().__init__()
        self.common_bandwidth = checks.positive("common_bandwidth", common_bandwidth)
        self.salient_bandwidth = checks.positive("salient_bandwidth", salient_bandwidth)
        self.include_self = include_self
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"]) -> Float[Tensor, ""]:
        inputs.check_rows(common=common, salient=salient)
        num = everyone.count(common, self.dist)
        others = num - (not self.include_self)
        if others < 1:
            return common.sum() * 0 + salient.sum() * 0
        log_sums = self._log_sums(common, salient, self.include_self)
        return everyone.world(self.dist) * log_sums.sum() / num - math.log(others)

    @torch.no_grad()
    def self_share(self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"]) -> Float[Tensor, ""]:
        """Mean share of each example's kernel mass that lies on itself; above 0.9 the term is inactive."""
        return torch.exp(-self._log_sums(common, salient, True)).mean()

    def _log_sums(self, common: Tensor, salient: Tensor, include_self: bool) -> Tensor:
        """log sum_j of the product kernel (n,): one Gaussian kernel of the scaled parts side by side."""
        dtype = torch.promote_types(torch.promote_types(common.dtype, salient.dtype), torch.float32)
        parts = ((common, self.common_bandwidth), (salient, self.salient_bandwidth))
        points = torch.cat([part.to(dtype) / math.sqrt(bandwidth) for part, bandwidth in parts], dim=1)
        center = everyone.total(points.detach().sum(dim=0), self.dist) / max(everyone.count(points, self.dist), 1)
        points = points - center  # changes no distance, keeps the small digits
        bias = -points.square().sum(dim=1) / 2
        terms = () if include_self else (pairs.terms.ExcludeSameId(everyone.ids(points, self.dist)),)
        return pairs.pair_lse(points, row_bias=bias, col_bias=bias, terms=terms, dist=self.dist)[0]

    def extra_repr(self) -> str:
        return (
            f"common_bandwidth={self.common_bandwidth}, salient_bandwidth={self.salient_bandwidth}, "
            f"include_self={self.include_self}"
        )
