"""QuantileNegatives: NT-Xent against the hardest share of the negatives only."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss, paired
from medgraph.losses.pairs.terms import ExcludeSameId, ScoreFloor

BLOCK = 512  # rows searched at once


class QuantileNegatives(ContrastiveLoss):
    """NT-Xent whose denominator keeps the highest-scoring `share` of each anchor's negatives, at least one.

    mean_i [ log(exp(x_ip) + sum_{j kept} exp(x_ij)) - x_ip ],  x = cosine / temperature, p = the other view of i.

    The choice carries no gradient; it holds the scores of 512 anchors at a time.

    Args:
        temperature: Divides the scores; hard negatives want a larger one.
        share: Part of the negatives kept; 1 keeps all.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.

    Example:
        >>> loss = QuantileNegatives(temperature=0.1, share=1.0)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(self, temperature: float = 0.7, share: float = 0.05, reduction: str = "mean"):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.temperature = checks.positive("temperature", temperature)
        self.share = checks.fraction("share", checks.positive("share", share))

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        first, second = paired(first=first, second=second)
        views, scale = torch.cat([first, second]), 1 / self.temperature
        positive = scale * (first * second).sum(dim=1).repeat(2)  # (2n,)
        ids = torch.arange(len(first), device=first.device).repeat(2)
        floor = ScoreFloor(scale * self._floor(views.detach(), ids))
        over_kept = pairs.pair_lse(views, scale=scale, terms=(ExcludeSameId(ids), floor))[0]
        over_all = torch.logaddexp(over_kept, positive)
        return self.reduce(
            over_all - positive, over_kept.isfinite(), "negative", positive=positive, denominator=over_all
        )

    def _floor(self, views: Tensor, ids: Tensor) -> Tensor:
        """Half way between the last score kept and the first dropped, so that rounding does not decide."""
        num_kept = math.ceil(self.share * (len(views) - 2))
        if num_kept == len(views) - 2:
            return views.new_full((len(views),), -torch.inf)
        floors = []
        for rows, own in zip(views.split(BLOCK), ids.split(BLOCK), strict=True):
            scores = (rows @ views.T).masked_fill(own[:, None] == ids, -torch.inf)
            floors.append(scores.topk(num_kept + 1, dim=1).values[:, -2:].mean(dim=1))
        return torch.cat(floors)
