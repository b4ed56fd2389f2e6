"""QuantileNegatives: NT-Xent against the hardest share of the negatives only."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, paired, with_positive
from medgraph.losses.inputs import in_double
from medgraph.losses.pairs.terms import ExcludeSameId, ScoreFloor

BLOCK = 512  # rows searched at once


class QuantileNegatives(ContrastiveLoss):
    """NT-Xent whose denominator keeps the highest-scoring `share` of each anchor's negatives, at least one.

    Negatives that tie with the last one kept are kept too.

    mean_i [ log(exp(x_ip) + sum_{j kept} exp(x_ij)) - x_ip ],  x = cosine / temperature, p = the other view of i.

    The choice carries no gradient; it holds the scores of 512 anchors at a time. All runs in double precision: else
    rounding would choose between negatives that score nearly alike, and another choice is another gradient.

    Args:
        temperature: Divides the scores; hard negatives want a larger one.
        share: Part of the negatives kept; 1 keeps all.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" searches and contrasts with the examples of all processes, None with those of this one. There
            is no "ring": a quantile needs all scores of an anchor at once.

    Example:
        >>> loss = QuantileNegatives(temperature=0.1, share=1.0)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(self, temperature: float = 0.7, share: float = 0.05, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))
        self.temperature = checks.positive("temperature", temperature)
        self.share = checks.fraction("share", checks.positive("share", share))

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        dtype = torch.promote_types(first.dtype, torch.float32)
        first, second = in_double(first, second)
        first, second = paired(first=first, second=second)
        views, scale = torch.cat([first, second]), 1 / self.temperature
        positive = own_logits(first, second, scale).repeat(2)  # (2n,)
        ids = everyone.ids(first, self.dist).repeat(2)
        floor = ScoreFloor(scale * self._floor(views.detach(), ids))
        over_kept = pairs.pair_lse(views, scale=scale, terms=(ExcludeSameId(ids), floor), dist=self.dist)[0]
        over_all = torch.logaddexp(over_kept, positive)
        loss = self.reduce(
            with_positive(over_kept, positive),
            over_kept.isfinite(),
            "negative",
            positive=positive,
            denominator=over_all,
        )
        return loss.to(dtype)

    def _floor(self, views: Tensor, ids: Tensor) -> Tensor:
        """Half way between the last score kept and the first dropped, and below both where they are equal."""
        keys, key_ids = everyone.rows(views, self.dist), everyone.rows(ids, self.dist)
        num_kept = max(1, math.ceil(self.share * (len(keys) - 2) - 1e-9))  # 0.07 * 100 is above 7 by rounding
        if num_kept >= len(keys) - 2:  # all of them, or no key at all
            return views.new_full((len(views),), -torch.inf)
        rounding = (views.shape[1] + 4) * torch.finfo(views.dtype).eps  # of one cosine, summed in two orders
        floors = []
        for rows, own in zip(views.split(BLOCK), ids.split(BLOCK), strict=True):
            scores = (rows @ keys.T).masked_fill(own[:, None] == key_ids, -torch.inf)
            floors.append(scores.topk(num_kept + 1, dim=1).values[:, -2:].mean(dim=1) - rounding)
        return torch.cat(floors)
