"""SigmoidPairLoss: decide for every pair on its own whether it belongs together."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss, units


class SigmoidPairLoss(ContrastiveLoss):
    """Logistic loss over all pairs [1]; needs no softmax, so small batches do as well as large ones.

    mean_i sum_j softplus(x_ij) - x_ii,  x = cosine / temperature + bias
    = mean_i [ sum_{j != i} -log sigmoid(-x_ij) - log sigmoid(x_ii) ].

    Keys beyond the number of queries are further negatives of every query.

    [1] Zhai et al., 2023, arXiv:2303.15343, Eq. 1.

    Args:
        temperature: Divides the scores; the start value if it is learned.
        bias: Added to the logits; negative, because most pairs do not belong together. The start value if learned.
        learnable: Train the logarithm of 1 / temperature, and the bias.
        reduction: "mean" or "sum" over the queries, or "none" for one value each.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = SigmoidPairLoss(temperature=0.1, bias=-5.0, learnable=False)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0269
    """

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        learnable: bool = True,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        log_scale, offset = torch.tensor(-math.log(temperature)), torch.tensor(float(bias))
        self.log_scale: Tensor
        self.bias: Tensor
        if learnable:
            self.log_scale, self.bias = nn.Parameter(log_scale), nn.Parameter(offset)
        else:
            self.register_buffer("log_scale", log_scale)
            self.register_buffer("bias", offset)

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"]) -> Float[Tensor, "..."]:
        n = len(queries)
        if len(keys) < n:
            raise ValueError(f"SigmoidPairLoss: {n} queries need at least {n} keys, their own first; got {len(keys)}")
        queries, keys = units(queries=queries, keys=keys)
        scale, bias = self.log_scale.exp().to(queries), self.bias.to(queries)
        positive = scale * (queries * keys[:n]).sum(dim=1) + bias  # (n,)
        over_all = pairs.pair_sum(queries, keys, phi="softplus", scale=scale, row_bias=bias.expand(n), dist=self.dist)
        return self.reduce(over_all - positive, None, "key", positive=positive)
