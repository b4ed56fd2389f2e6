"""Uniformity: examples spread out, as a Gaussian kernel sees them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.loss import Loss
from medgraph.losses.pairs.lse import check_embeddings


class Uniformity(Loss):
    """Log of the mean Gaussian kernel over all pairs of different examples [1].

    log mean_{i != j} exp(-|z_i - z_j|^2 / (2 bandwidth))

    Never above 0, and 0 only when all embeddings are equal. Embeddings are used as they are, not normalized: on the
    sphere the loss has a floor, elsewhere only `include_self` gives it one. With t of [1], bandwidth = 1 / (2 t).
    Fewer than two points give 0.

    [1] Wang and Isola, 2020, arXiv:2005.10242, Eq. 5.

    Args:
        bandwidth: Variance of the kernel; smaller feels only near neighbors.
        form: "pair", one log of the mean over pairs; or "row", the mean over examples of the log of their mean.
        include_self: Whether each example counts as its own neighbor, which bounds the loss by -log n.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> round(Uniformity(bandwidth=0.5)(torch.eye(3)).item(), 4)
        -2.0
    """

    def __init__(self, bandwidth: float = 0.5, form: str = "pair", include_self: bool = False, dist: str | None = None):
        super().__init__()
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.form = checks.one_of("form", form, ("pair", "row"))
        self.include_self = include_self
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(self, embeddings: Float[Tensor, "n d"], fixed: Float[Tensor, "m d"] | None = None) -> Float[Tensor, ""]:
        """Loss of `embeddings`; `fixed` are further points that repel them, but not each other.

        With `dist`, the fixed points of all processes repel: give each to one process only.
        """
        check_embeddings("embeddings", embeddings)
        if fixed is not None:
            check_embeddings("fixed", fixed)
            inputs.same_width(embeddings=embeddings, fixed=fixed)
        points = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        n = everyone.count(points, self.dist)
        others = n - 1 + self.include_self + (0 if fixed is None else everyone.count(fixed, self.dist))
        if n == 0 or others == 0:
            return points.sum() * 0
        center = (
            everyone.total(points.detach().sum(dim=0), self.dist) / n
        )  # changes no distance, keeps the small digits of a far-away cloud
        queries = points - center
        keys = queries if fixed is None else torch.cat([queries, fixed.to(points.dtype) - center])
        scale = 1 / self.bandwidth
        with_self = self.include_self and points.dtype == torch.float64  # else added as 1: far rows round it away
        ids = everyone.ids(keys, self.dist)
        row_bias = -scale / 2 * queries.square().sum(dim=1)
        log_sums = pairs.pair_lse(
            queries,
            None if fixed is None else keys,
            scale=scale,
            row_bias=row_bias,
            col_bias=row_bias if fixed is None else -scale / 2 * keys.square().sum(dim=1),
            terms=() if with_self else (pairs.terms.ExcludeSameId(ids[: len(points)], ids),),
            dist=self.dist,
        )[0]  # (n,)
        if self.include_self and not with_self:
            log_sums = torch.logaddexp(log_sums, torch.zeros_like(log_sums))
        if self.form == "row":
            return everyone.world(self.dist) * log_sums.sum() / n - math.log(others)
        return torch.logsumexp(everyone.rows(log_sums, self.dist), dim=0) - math.log(n * others)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, form={self.form}, include_self={self.include_self}"
