"""AdaptiveInfoNCE: a small network learns how much each key counts as a negative of each query."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import mean_over_valid, unit
from medgraph.losses.pairs.terms import AdditiveScorer, ExcludeSameId


class AdaptiveInfoNCE(nn.Module):
    """InfoNCE with AdaMEOW's learned soft weights.

    mean_i [ log sum_j w_ij exp(x_ij) - x_ii ],  x = cosine / temperature,
    w_ij = sigmoid(w2 . tanh(W1 (q_i ; k_j) + b1) + b2).

    Free weights make the loss unbounded below (all may go to 0); weight_norm="row_mean" prevents that.
    Memory is linear in the examples, with one tile of hidden_dim numbers per pair.

    Args:
        dim: Width of the embeddings.
        hidden_dim: Width of the weight network.
        temperature: Divides the scores; smaller stresses the hardest negatives.
        weight_norm: "none" as published; "row_mean" divides by the mean weight over the other keys.

    Example:
        >>> AdaptiveInfoNCE(dim=4)(torch.eye(4), torch.eye(4)).isfinite().item()
        True
    """

    def __init__(self, dim: int, hidden_dim: int = 32, temperature: float = 0.1, weight_norm: str = "none"):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.weight_norm = checks.one_of("weight_norm", weight_norm, ("none", "row_mean"))
        self.of_queries = nn.Linear(checks.at_least("dim", dim, 1), checks.at_least("hidden_dim", hidden_dim, 1))
        self.of_keys = nn.Linear(dim, hidden_dim, bias=False)
        self.score = nn.Linear(hidden_dim, 1)

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        checks.same_length(queries=queries, keys=keys)
        queries, keys, scale = unit(queries), unit(keys), 1 / self.temperature
        positive = scale * (queries * keys).sum(dim=1)  # (n,)
        scorer = AdditiveScorer(self.of_queries(queries), self.of_keys(keys), self.score.weight[0], self.score.bias[0])
        if self.weight_norm == "none":
            return (pairs.pair_lse(queries, keys, scale=scale, terms=(scorer,))[0] - positive).mean()
        others = ExcludeSameId(torch.arange(len(queries), device=queries.device))
        heads = ((1.0, ()), (0.0, (others,)))
        total, weights = pairs.pair_lse(queries, keys, scale=scale, terms=(scorer,), heads=heads)
        mean_weight = weights - math.log(max(len(keys) - 1, 1))
        return mean_over_valid(total - mean_weight - positive, weights.isfinite(), "other key")
