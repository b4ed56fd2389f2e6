"""GivenWeightInfoNCE: keys or pairs weigh as the caller says."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, units, with_positive
from medgraph.losses.pairs.terms import ColumnLogWeight, ExcludeSameId, PairTerm


class GivenWeightInfoNCE(ContrastiveLoss):
    """InfoNCE with weights that the caller gives, as log-weights of keys or of pairs.

    mean_i [ log sum_j w_ij exp(x_ij) - x_ii ],  x = cosine / temperature.

    Queries whose every weight is 0 are left out; with none left the loss is 0. `stats` reports the mean effective
    sample size (sum_j w_ij)^2 / sum_j w_ij^2. Memory is linear for every term but `DenseBias`.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        positive_in_denominator: "weighted" gives the positive its own weight; "always" gives it weight 1, so the value
            is at least 0.
        self_normalize: Divide the weights of each query by their mean, so that their size does not matter and the
            temperature keeps its meaning.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = GivenWeightInfoNCE(temperature=1.0)(torch.eye(4), torch.eye(4), torch.zeros(4))
        >>> round(loss.item(), 4)
        0.7437
    """

    def __init__(
        self,
        temperature: float = 0.1,
        positive_in_denominator: str = "weighted",
        self_normalize: bool = False,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.positive_in_denominator = checks.one_of(
            "positive_in_denominator", positive_in_denominator, ("weighted", "always")
        )
        self.self_normalize = self_normalize
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"], log_weights: Float[Tensor, " m"] | PairTerm
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: key i belongs to query i, and keys beyond the queries are negatives of all.

        `log_weights` holds one number per key, or is a pair term (`TableLogWeight`, `SparseBias`, `LabelDistance`...).
        """
        n, m = len(queries), len(keys)
        if m < n:
            raise ValueError(f"GivenWeightInfoNCE: {n} queries need at least {n} keys, their own first; got {m}")
        queries, keys = units(queries=queries, keys=keys)
        scale, always = 1 / self.temperature, self.positive_in_denominator == "always"
        positive = own_logits(queries, keys[:n], scale)  # (n,)
        weights = ColumnLogWeight(log_weights) if isinstance(log_weights, Tensor) else log_weights
        ids = everyone.ids(keys, self.dist)
        others = ExcludeSameId(ids[:n], ids)
        by_key = isinstance(log_weights, Tensor)
        counted = (others,) if always else ()
        heads: list[tuple[float, tuple[PairTerm, ...]]] = [(1.0, (others,) if always or by_key else ())]
        heads += [(0.0, counted)] if self.self_normalize or self.collecting else []  # log of the total weight
        heads += [(0.0, (weights, *counted))] if self.collecting else []  # log of the sum of squared weights
        sums, *totals = pairs.pair_lse(queries, keys, scale=scale, terms=(weights,), heads=heads, dist=self.dist)
        own = log_weights[:n].to(positive) if isinstance(log_weights, Tensor) else torch.zeros_like(positive)
        valid = sums.isfinite() | (own.isfinite() if by_key and not always else False)
        if self.self_normalize:
            mean = totals[0] - math.log(max(everyone.count(keys, self.dist) - always, 1))
            mean = mean.masked_fill(~valid, 0)
            sums, own = sums - mean, own - mean
        if always:
            loss = with_positive(sums, positive)
        else:
            loss = (
                with_positive(sums, positive, own) if by_key else (sums - positive).to(sums)
            )  # a pair term has its own within
        parts = {"positive": positive, "denominator": loss + positive}
        if self.collecting:
            parts["effective_sample_size"] = (2 * totals[0] - totals[1]).exp()
        return self.reduce(loss, valid, "key of weight above 0", **parts)
