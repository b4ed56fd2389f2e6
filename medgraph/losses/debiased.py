"""DebiasedNTXent: NT-Xent corrected for negatives that belong to the anchor's own class, tilted to the hard ones."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, paired, with_positive
from medgraph.losses.inputs import in_double
from medgraph.losses.pairs.terms import ExcludeSameId


class DebiasedNTXent(ContrastiveLoss):
    """NT-Xent that subtracts the expected share of false negatives [1] and can stress hard negatives [2].

    mean_i log(1 + N_i / exp(x_ip)),  x = cosine / temperature, p = the other view of i, m negatives,
    N_i = max( (R_i - prior m exp(x_ip)) / (1 - prior), m exp(-1 / temperature) ),
    R_i = m sum_j exp((1 + beta) x_ij) / sum_j exp(beta x_ij).

    With prior 0 and beta 0 this is NT-Xent. A single example has no negatives: the loss is 0. With a prior all runs in
    double precision: where N_i nearly cancels, rounding would be the larger part of it.

    [1] Chuang et al., 2020, arXiv:2007.00224, Eq. 8. [2] Robinson et al., 2021, arXiv:2010.04592, Eq. 4.

    Args:
        temperature: Divides the scores.
        positive_prior: Probability that a negative is of the anchor's class (tau+); larger corrects more.
        beta: Concentration on hard negatives; 0 treats all negatives alike.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = DebiasedNTXent(temperature=0.1, positive_prior=0.0)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(
        self,
        temperature: float = 0.5,
        positive_prior: float = 0.1,
        beta: float = 0.0,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)
        self.positive_prior = checks.between("positive_prior", positive_prior, 0.0, 0.99)
        self.beta = checks.not_negative("beta", beta)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        dtype = torch.promote_types(first.dtype, torch.float32)
        if self.positive_prior > 0:
            first, second = in_double(first, second)
        first, second = paired(first=first, second=second)
        scale, num_negatives = 1 / self.temperature, max(2 * everyone.count(first, self.dist) - 2, 1)
        positive = own_logits(first, second, scale).repeat(2)  # (2n,)
        negatives = ExcludeSameId(everyone.ids(first, self.dist).repeat(2))
        heads = ((1.0, ()),) if self.beta == 0 else ((1 + self.beta, ()), (self.beta, ()))
        views = torch.cat([first, second])
        sums = pairs.pair_lse(views, scale=scale, terms=(negatives,), heads=heads, dist=self.dist)
        valid = sums[0].isfinite()
        total = sums[0] if self.beta == 0 else sums[0] - sums[1] + math.log(num_negatives)
        corrected = self._without_false_negatives(total.masked_fill(~valid, 0), positive, num_negatives)
        floor = math.log(num_negatives) - scale
        loss = with_positive(corrected.clamp_min(floor), positive)
        return self.reduce(loss, valid, "negative", positive=positive, denominator=total).to(dtype)

    def _without_false_negatives(self, total: Tensor, positive: Tensor, num_negatives: int) -> Tensor:
        """log of (exp(total) - prior m exp(positive)) / (1 - prior); -inf where that is not above 0."""
        if self.positive_prior == 0:
            return total
        gap = math.log(self.positive_prior * num_negatives) + positive - total
        above = gap < 0
        rest = torch.log1p(-gap.where(above, torch.full_like(gap, -1)).exp())
        corrected = total + rest - math.log1p(-self.positive_prior)
        return corrected.where(above, torch.full_like(gap, -torch.inf))
