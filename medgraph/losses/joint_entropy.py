"""JointEntropy: raise the joint entropy of two parts of an embedding (SepCLR's k-JEM)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.loss import Loss


class JointEntropy(Loss):
    """Minus the kernel estimate of the joint entropy of the common and the salient part, up to a constant [1].

    mean_i log mean_j exp(-|c_i - c_j|^2 / (2 common_bandwidth) - |s_i - s_j|^2 / (2 salient_bandwidth)),  j = i too.

    From -log n to 0. Two examples repel only if they are close in both parts; once the salient parts are far apart on
    the scale of their bandwidth nothing moves any more, see `self_share`. Embeddings are used as they are.
    Fixed points are further j of every i, e.g. codes of past batches; m of them move the lower bound to -log(n + m).
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

    def forward(
        self,
        common: Float[Tensor, "n c"],
        salient: Float[Tensor, "n s"],
        fixed_common: Float[Tensor, "m c"] | None = None,
        fixed_salient: Float[Tensor, "m s"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of the examples; the fixed points repel them, but not each other.

        With `dist`, the fixed points of all processes repel: give each to one process only.
        """
        inputs.check_rows(common=common, salient=salient)
        fixed = _together(common, salient, fixed_common, fixed_salient)
        num = everyone.count(common, self.dist)
        others = num - (not self.include_self) + (0 if fixed is None else everyone.count(fixed[0], self.dist))
        if num == 0 or others < 1:
            return common.sum() * 0 + salient.sum() * 0
        log_sums = self._log_sums(common, salient, self.include_self, fixed)
        return everyone.world(self.dist) * log_sums.sum() / num - math.log(others)

    @torch.no_grad()
    def self_share(self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"]) -> Float[Tensor, ""]:
        """Mean share of each example's kernel mass that lies on itself; above 0.9 the term is inactive."""
        return self.self_shares(common, salient).mean()

    @torch.no_grad()
    def self_shares(
        self,
        common: Float[Tensor, "n c"],
        salient: Float[Tensor, "n s"],
        fixed_common: Float[Tensor, "m c"] | None = None,
        fixed_salient: Float[Tensor, "m s"] | None = None,
    ) -> Float[Tensor, " n"]:
        """The share of each example."""
        fixed = _together(common, salient, fixed_common, fixed_salient)
        return torch.exp(-self._log_sums(common, salient, True, fixed))

    def _log_sums(
        self, common: Tensor, salient: Tensor, include_self: bool, fixed: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """log sum_j of the product kernel (n,): one Gaussian kernel of the scaled parts side by side."""
        points = self._points(common, salient)
        center = everyone.total(points.detach().sum(dim=0), self.dist) / max(everyone.count(points, self.dist), 1)
        points = points - center  # changes no distance, keeps the small digits
        keys = points if fixed is None else torch.cat([points, self._points(*fixed).to(points.dtype) - center])
        bias = -points.square().sum(dim=1) / 2
        with_self = include_self and points.dtype == torch.float64  # else added as 1: far rows round it away
        ids = everyone.ids(keys, self.dist)
        log_sums = pairs.pair_lse(
            points,
            None if fixed is None else keys,
            row_bias=bias,
            col_bias=bias if fixed is None else -keys.square().sum(dim=1) / 2,
            terms=() if with_self else (pairs.terms.ExcludeSameId(ids[: len(points)], ids),),
            dist=self.dist,
        )[0]
        return torch.logaddexp(log_sums, torch.zeros_like(log_sums)) if include_self and not with_self else log_sums

    def _points(self, common: Tensor, salient: Tensor) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(common.dtype, salient.dtype), torch.float32)
        parts = ((common, self.common_bandwidth), (salient, self.salient_bandwidth))
        return torch.cat([part.to(dtype) / math.sqrt(bandwidth) for part, bandwidth in parts], dim=1)

    def extra_repr(self) -> str:
        return (
            f"common_bandwidth={self.common_bandwidth}, salient_bandwidth={self.salient_bandwidth}, "
            f"include_self={self.include_self}"
        )


def _together(
    common: Tensor, salient: Tensor, fixed_common: Tensor | None, fixed_salient: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Both parts of the fixed points, checked; None without any. Raises ValueError where one part is missing."""
    if fixed_common is None and fixed_salient is None:
        return None
    if fixed_common is None or fixed_salient is None:
        raise ValueError("fixed_common, fixed_salient: expected both parts of the fixed points, got only one")
    inputs.check_rows(fixed_common=fixed_common, fixed_salient=fixed_salient)
    inputs.same_width(common=common, fixed_common=fixed_common)
    inputs.same_width(salient=salient, fixed_salient=fixed_salient)
    return fixed_common, fixed_salient
