"""InversePropensity: keys that the sampler rarely draws count more."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import unit
from medgraph.losses.pairs.terms import ColumnLogWeight


class InversePropensity(nn.Module):
    """InfoNCE with each key weighted by one over its probability under the sampler (of its site, scanner, age bin).

    mean_i [ log sum_j w_j exp(x_ij) - x_ii ],  x = cosine / temperature, w_j = 1 / clip(propensity_j), mean 1.

    Because weights average to 1, a constant propensity changes nothing and the temperature keeps its meaning.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        min_propensity: Propensities below count as this; larger limits the weight of the rarest keys.

    Example:
        >>> import torch
        >>> loss = InversePropensity(temperature=0.1)(torch.eye(4), torch.eye(4), torch.full((4,), 0.25))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1, min_propensity: float = 0.01):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.min_propensity = checks.between("min_propensity", min_propensity, 1e-6, 1.0)

    def forward(
        self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], propensity: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        checks.same_length(queries=queries, keys=keys, propensity=propensity)
        queries, keys, scale = unit(queries), unit(keys), 1 / self.temperature
        positive = scale * (queries * keys).sum(dim=1)  # (n,)
        log_weight = -propensity.to(queries).clamp(self.min_propensity, 1).log()
        log_weight = log_weight - log_weight.logsumexp(dim=0) + math.log(len(keys))
        total = pairs.pair_lse(queries, keys, scale=scale, terms=(ColumnLogWeight(log_weight),))[0]
        return (total - positive).mean()
