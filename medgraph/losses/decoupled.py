"""DCL and DCLW: NT-Xent whose denominator leaves the positive out, so that easy positives still teach."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, paired
from medgraph.losses.pairs.terms import ExcludeSameId


class DCL(ContrastiveLoss):
    """Decoupled contrastive loss [1] over both views of all examples.

    mean_i [ logsumexp_{j not i, not p}(s_ij / temperature) - s_ip / temperature ],  s = cosine, p = the other view.

    The value may be negative. A single example has no negatives: the loss is 0.

    [1] Yeh et al., 2022, arXiv:2110.06848, Eq. 6.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> round(DCL(temperature=1.0)(torch.eye(4), torch.eye(4)).item(), 4)
        0.7918
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        first, second = paired(first=first, second=second)
        return _decoupled(self, first, second, self.temperature, None)


class DCLW(ContrastiveLoss):
    """DCL with the positives weighted by von Mises-Fisher [1]: pairs that agree already count less.

    The positive score of example i is multiplied by 2 - n softmax_i(s_ip / spread), without gradient.

    [1] Yeh et al., 2022, arXiv:2110.06848, Eq. 7.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        spread: Divides the scores inside the weights (sigma in the paper); smaller makes them differ more.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> round(DCLW(temperature=1.0)(torch.eye(4), torch.eye(4)).item(), 4)
        0.7918
    """

    def __init__(self, temperature: float = 0.1, spread: float = 0.5, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)
        self.spread = checks.positive("spread", spread)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "..."]:
        first, second = paired(first=first, second=second)
        agreement = (first * second).sum(dim=1).detach() / self.spread  # (n,)
        everyones = everyone.rows(agreement, self.dist)
        weight = 2 - len(everyones) * (agreement - everyones.logsumexp(dim=0)).exp()
        return _decoupled(self, first, second, self.temperature, weight)


def _decoupled(
    loss: ContrastiveLoss, first: Tensor, second: Tensor, temperature: float, weight: Tensor | None
) -> Tensor:
    positive = (first * second).sum(dim=1) / temperature  # (n,)
    positive = positive if weight is None else weight * positive
    negatives = ExcludeSameId(everyone.ids(first, loss.dist).repeat(2))
    views = torch.cat([first, second])
    over_negatives = pairs.pair_lse(views, scale=1 / temperature, terms=(negatives,), dist=loss.dist)[0]
    positive = positive.repeat(2)
    return loss.reduce(
        over_negatives - positive,
        over_negatives.isfinite(),
        "negative",
        positive=positive,
        denominator=over_negatives,
    )
