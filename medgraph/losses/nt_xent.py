"""NTXent: find the other view of each example among the views of all examples."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, paired, with_positive
from medgraph.losses.pairs.terms import ExcludeSameId


class NTXent(ContrastiveLoss):
    """SimCLR's loss [1]: both views of all examples are anchors, and every other view is a key.

    mean_i [ logsumexp_{j != i}(s_ij / temperature) - s_ip / temperature ],  s = cosine, p = the other view of i.

    With all scores equal the loss is log(2n - 1).

    [1] Chen et al., 2020, arXiv:2002.05709, Eq. 1.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = NTXent(temperature=0.1)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(self, temperature: float = 0.5, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        first, second = paired(first=first, second=second)
        views = torch.cat([first, second])  # (2n, d)
        scale = 1 / self.temperature
        positive = own_logits(first, second, scale).repeat(2)  # (2n,)
        negatives = ExcludeSameId(everyone.ids(first, self.dist).repeat(2))
        over_negatives = pairs.pair_lse(views, scale=scale, terms=(negatives,), dist=self.dist)[0]
        loss = with_positive(over_negatives, positive)
        over_others = torch.logaddexp(over_negatives, positive)
        return self.reduce(loss, None, "other view", positive=positive, denominator=over_others)
