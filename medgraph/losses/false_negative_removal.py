"""FalseNegativeRemoval: NT-Xent without negatives that look like positives."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import mean_over_valid, unit
from medgraph.losses.pairs.terms import ExcludeSameId, ScoreCeil


class FalseNegativeRemoval(nn.Module):
    """NT-Xent whose denominator drops every negative that is closer than the positive by more than a margin.

    mean_i [ log(exp(x_ip) + sum_{j kept} exp(x_ij)) - x_ip ],  x = cosine / temperature, p = the other view of i,
    kept: s_ij <= s_ip + margin. Dropped pairs carry no gradient, nor does the threshold.

    Anchors that keep no negative are left out; with no anchor left the loss is 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        margin: Cosine above the positive's from which a negative is dropped; 2 or more drops none.

    Example:
        >>> loss = FalseNegativeRemoval(temperature=0.1)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0003
    """

    def __init__(self, temperature: float = 0.5, margin: float = 0.1):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.margin = checks.between("margin", margin, -2.0, 2.0)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        checks.same_length(first=first, second=second)
        first, second = unit(first), unit(second)
        scale = 1 / self.temperature
        positive = scale * (first * second).sum(dim=1).repeat(2)  # (2n,)
        negatives = ExcludeSameId(torch.arange(len(first), device=first.device).repeat(2))
        kept = ScoreCeil(positive + scale * self.margin)
        over_kept = pairs.pair_lse(torch.cat([first, second]), scale=scale, terms=(negatives, kept))[0]
        return mean_over_valid(torch.logaddexp(over_kept, positive) - positive, over_kept.isfinite(), "negative left")
