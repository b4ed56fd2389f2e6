"""FalseNegativeRemoval: NT-Xent without negatives that look like positives."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, paired, with_positive
from medgraph.losses.pairs.lse import refuse_not_finite
from medgraph.losses.pairs.terms import ExcludeSameId, Guide, PairTerm, ScoreCeil


class FalseNegativeRemoval(ContrastiveLoss):
    """NT-Xent whose denominator drops negatives that are probably of the anchor's own class.

    mean_i [ log(exp(x_ip) + sum_{j kept} exp(x_ij)) - x_ip ],  x = cosine / temperature, p = the other view of i,
    kept: s_ij <= s_ip + margin, and the guide's cosine of i and j <= guide_threshold.

    Dropped pairs carry no gradient, nor do the thresholds. Anchors that keep no negative are left out; with no anchor
    left the loss is 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        margin: Cosine above the positive's from which a negative is dropped; 2 or more drops none.
        guide_threshold: Cosine between a frozen model's embeddings from which a negative is dropped; None uses no
            guide, and the loss takes no guide embeddings.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = FalseNegativeRemoval(temperature=0.1)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(
        self,
        temperature: float = 0.5,
        margin: float = 0.1,
        guide_threshold: float | None = None,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.margin = checks.between("margin", margin, -2.0, 2.0)
        self.guide_threshold = guide_threshold
        if guide_threshold is not None:
            checks.between("guide_threshold", guide_threshold, -1.0, 1.0)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], guide: Float[Tensor, "n g"] | None = None
    ) -> Float[Tensor, "..."]:
        """Loss of a batch; `guide` holds a frozen model's embedding of each example, for both its views."""
        first, second = paired(first=first, second=second)
        scale = 1 / self.temperature
        positive = own_logits(first, second, scale).repeat(2)  # (2n,)
        negatives = ExcludeSameId(everyone.ids(first, self.dist).repeat(2))
        kept = (ScoreCeil(positive.to(first) + scale * self.margin), *self._guided(guide, first))
        views = torch.cat([first, second])
        over_kept = pairs.pair_lse(views, scale=scale, terms=(negatives, *kept), dist=self.dist)[0]
        over_all = torch.logaddexp(over_kept, positive)
        valid = over_kept.isfinite()
        return self.reduce(
            with_positive(over_kept, positive), valid, "negative left", positive=positive, denominator=over_all
        )

    def _guided(self, guide: Tensor | None, first: Tensor) -> tuple[PairTerm, ...]:
        if (guide is None) != (self.guide_threshold is None):
            raise ValueError("guide: expected embeddings exactly if guide_threshold is set")
        if guide is None or self.guide_threshold is None:
            return ()
        checks.same_length(first=first, guide=guide)
        refuse_not_finite("guide", guide)
        return (Guide(guide.to(first).repeat(2, 1), None, self.guide_threshold),)
