"""MeanNormalizedNegatives: each query's own key against the average of the other keys."""

import math

from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, paired, with_positive


class MeanNormalizedNegatives(ContrastiveLoss):
    """Contrastive loss whose value does not depend on the number of negatives.

    mean_i softplus( log mean_{j != i} exp(s_ij / temperature) - s_ii / temperature ),  s = cosine.

    With all scores equal the loss is log 2, for every batch size. A single example has no negatives: the loss is 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> round(MeanNormalizedNegatives(temperature=1.0)(torch.eye(3), torch.eye(3)).item(), 4)
        0.3133
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        queries, keys = paired(queries=queries, keys=keys)
        scale = 1 / self.temperature
        positive = own_logits(queries, keys, scale)  # (n,), the logit of each query's own key
        not_own = pairs.terms.ExcludeSameId(everyone.ids(queries, self.dist))
        negative = pairs.pair_lse(queries, keys, scale=scale, terms=(not_own,), dist=self.dist)[0]
        valid = negative.isfinite()
        mean_negative = negative.masked_fill(~valid, 0) - math.log(max(everyone.count(keys, self.dist) - 1, 1))
        loss = with_positive(mean_negative, positive)
        return self.reduce(loss, valid, "negative", positive=positive, denominator=mean_negative)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
