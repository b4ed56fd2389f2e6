"""ReplayLoss: keep rehearsed examples near where the previous model put their class, apart from the rest."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.anchors import ContrastiveLoss, units
from medgraph.losses.pairs.positives import by_label
from medgraph.losses.pairs.terms import ExcludeSameId


class ReplayLoss(ContrastiveLoss):
    """Contrastive replay for continual learning: positives of the previous model, negatives of the current one.

    mean_i [ logsumexp_{j != i} x_ij - mean_{p: y_p = y_i} x'_ip ],  x = cosine / temperature,
    i a rehearsed example, j all current embeddings, x'_ip its score with the previous model's embedding of p.

    The previous embedding of i is a positive too, so every anchor has one; they carry no gradient. An example without
    any other to tell it from is left out; with none left the loss is 0. Memory is linear.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = ReplayLoss(temperature=0.1)(torch.eye(4), torch.eye(4), torch.arange(4))
        >>> round(loss.item(), 4)
        -8.9014
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self,
        rehearsed: Float[Tensor, "n d"],
        previous: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        others: Float[Tensor, "m d"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of rehearsed examples: their embeddings now and by the previous model, and `others` of the new task."""
        checks.same_length(rehearsed=rehearsed, previous=previous, labels=labels)
        labels = inputs.whole("labels", labels)
        keys = rehearsed if others is None else torch.cat(units(rehearsed=rehearsed, others=others))
        anchors, previous, keys = units(rehearsed=rehearsed, previous=previous.detach(), keys=keys)
        scale, ids = 1 / self.temperature, everyone.ids(keys, self.dist)
        apart = ExcludeSameId(ids[: len(anchors)], ids)
        denominator = pairs.pair_lse(anchors, keys, scale=scale, terms=(apart,), dist=self.dist)[0]
        positive = self._positive(anchors, previous, labels, scale)
        valid = denominator.isfinite()
        return self.reduce(denominator - positive, valid, "other example", positive=positive, denominator=denominator)

    def _positive(self, anchors: Tensor, previous: Tensor, labels: Tensor, scale: float) -> Tensor:
        """Mean logit of each anchor's class in the previous model's embeddings (n,)."""
        if self.dist is None:
            return by_label(labels, labels, exclude_self=False).mean(anchors, previous, scale=scale)
        totals, sizes = everyone.by_label(previous, labels, self.dist)
        return scale * (anchors * totals).sum(dim=1) / sizes.to(anchors)
