"""WeightedInfoNCE: negatives weigh by the clusterings in which they differ from the query."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, units, with_positive
from medgraph.losses.pairs.terms import CodeDisagreement


class WeightedInfoNCE(ContrastiveLoss):
    """InfoNCE with MEOW's hard weights: a key in the query's clusters is no negative.

    mean_i [ log sum_j w_ij exp(x_ij) - x_ii ],  x = cosine / temperature, w_ij = clusterings in which i and j differ.

    Queries whose every key shares all their clusters are left out under "weighted"; with none left the loss is 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        positive_in_denominator: "weighted" gives the positive its own weight, which is 0, so the value may be
            negative; "always" adds it with weight 1, so the value is at least 0.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> codes = torch.arange(4)[:, None]
        >>> loss = WeightedInfoNCE(temperature=1.0)(torch.eye(4), torch.eye(4), codes)
        >>> round(loss.item(), 4)
        0.0986
    """

    def __init__(
        self,
        temperature: float = 0.1,
        positive_in_denominator: str = "weighted",
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.positive_in_denominator = checks.one_of(
            "positive_in_denominator", positive_in_denominator, ("weighted", "always")
        )
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], codes: Int[Tensor, "n r"]
    ) -> Float[Tensor, "..."]:
        checks.same_length(queries=queries, keys=keys, codes=codes)
        queries, keys = units(queries=queries, keys=keys)
        scale = 1 / self.temperature
        negatives = pairs.pair_lse(queries, keys, scale=scale, terms=(CodeDisagreement(codes),), dist=self.dist)[0]
        if self.positive_in_denominator == "always":
            positive = own_logits(queries, keys, scale)  # (n,)
            loss, valid = with_positive(negatives, positive), None
        else:
            positive = scale * (queries * keys).sum(dim=1)
            loss, valid = negatives - positive, negatives.isfinite()
        lack = "key outside their clusters"
        return self.reduce(loss, valid, lack, positive=positive, denominator=loss + positive)
