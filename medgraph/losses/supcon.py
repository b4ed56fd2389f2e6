"""SupCon: draw examples of one label together, away from those of other labels."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.anchors import ContrastiveLoss, unit
from medgraph.losses.pairs.positives import by_label
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyNegatives, OnlyPositives


class SupCon(ContrastiveLoss):
    """Supervised contrastive loss [1]: all other examples of the anchor's label are positives.

    With x = cosine / temperature, P the positives of i, N the examples of other labels:

    out:          mean_i [ logsumexp_{j != i} x_ij - mean_{p in P} x_ip ]
    in:           mean_i [ logsumexp_{j != i} x_ij - logsumexp_{p in P} x_ip + log |P| ], never above `out`
    per_positive: mean_i mean_{p in P} softplus(logsumexp_{j in N} x_ij - x_ip)

    Anchors without positives (per_positive: or without negatives) are left out; with no anchor left the loss is 0.
    Memory is linear.

    [1] Khosla et al., 2020, arXiv:2004.11362, Eq. 2 and 3.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        mode: "out" treats all positives alike; "in" is satisfied by the nearest; in "per_positive" positives do not
            compete with one another.
        reduction: "mean" or "sum" over the valid anchors, "none" for one value each, 0 where invalid, or "pair" for the
            mean over pairs of anchor and positive, in which frequent labels count more.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> loss = SupCon(temperature=0.1)(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1, mode: str = "out", reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.mode = checks.one_of("mode", mode, ("out", "in", "per_positive"))
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none", "pair"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(self, embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "..."]:
        checks.same_length(embeddings=embeddings, labels=labels)
        labels = inputs.whole("labels", labels)
        x, scale = unit(embeddings), 1 / self.temperature
        others = ExcludeSameId(everyone.ids(x, self.dist))
        positive, count = self._positives(x, labels, scale)
        valid, lack = count > 0, "positive"
        if self.mode == "out":
            denominator = pairs.pair_lse(x, scale=scale, terms=(others,), dist=self.dist)[0]
            loss = denominator - positive
        elif self.mode == "in":
            heads = ((1.0, ()), (1.0, (OnlyPositives(labels),)))
            denominator, over_positives = pairs.pair_lse(x, scale=scale, terms=(others,), heads=heads, dist=self.dist)
            loss = denominator - over_positives + count.to(x).log()
        else:
            denominator = pairs.pair_lse(x, scale=scale, terms=(OnlyNegatives(labels),), dist=self.dist)[0]
            valid, lack = valid & denominator.isfinite(), "positive or no negative"
            offset = -denominator.masked_fill(~valid, 0)
            same = (OnlyPositives(labels), others)
            total = pairs.pair_sum(x, phi="softplus", scale=-scale, offset=offset, terms=same, dist=self.dist)
            loss = total / count.to(x).clamp_min(1)
        return self.reduce(loss, valid, lack, count, positive=positive, denominator=denominator)

    def _positives(self, x: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Mean score of the positives of each anchor and their number, by the sum of all embeddings of each label."""
        if self.dist is None:
            positives = by_label(labels)
            return positives.mean(x, scale=scale), positives.count
        totals, sizes = everyone.by_label(x, labels, self.dist)
        count = sizes - 1
        return scale * (x * (totals - x)).sum(dim=1) / count.clamp_min(1).to(x), count
