"""AdaptiveInfoNCE: a small network learns how much each key counts as a negative of each query."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, units, with_positive
from medgraph.losses.pairs.interpolated import InterpolatedScorer, additive_scorer
from medgraph.losses.pairs.terms import AdditiveScorer, ExcludeSameId


class AdaptiveInfoNCE(ContrastiveLoss):
    """InfoNCE with AdaMEOW's learned soft weights.

    mean_i [ log sum_j w_ij exp(x_ij) - x_ii ],  x = cosine / temperature,
    w_ij = sigmoid(w2 . tanh(W1 (q_i ; k_j) + b1) + b2), or with one W1 for both: W1 (q_i + k_j).

    Free weights make the loss unbounded below (all may go to 0); weight_norm="row_mean" prevents that.
    Keys beyond the number of queries are further negatives of every query. Memory is linear in the examples, with one
    tile of hidden_dim numbers per pair.

    Args:
        dim: Width of the embeddings.
        hidden_dim: Width of the weight network.
        temperature: Divides the scores; smaller stresses the hardest negatives.
        weight_norm: "none" as published; "row_mean" divides by the mean weight over the other keys.
        pair_input: What the network sees of a pair: "both" embeddings side by side, or their "sum".
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> AdaptiveInfoNCE(dim=4)(torch.eye(4), torch.eye(4)).isfinite().item()
        True
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int = 32,
        temperature: float = 0.1,
        weight_norm: str = "none",
        pair_input: str = "both",
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.weight_norm = checks.one_of("weight_norm", weight_norm, ("none", "row_mean"))
        self.pair_input = checks.one_of("pair_input", pair_input, ("both", "sum"))
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.of_queries = nn.Linear(checks.at_least("dim", dim, 1), checks.at_least("hidden_dim", hidden_dim, 1))
        self.of_keys = nn.Linear(dim, hidden_dim, bias=False) if pair_input == "both" else None
        self.score = nn.Linear(hidden_dim, 1)

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"]) -> Float[Tensor, "..."]:
        n = len(queries)
        if len(keys) < n:
            raise ValueError(f"AdaptiveInfoNCE: {n} queries need at least {n} keys, their own first; got {len(keys)}")
        queries, keys = units(queries=queries, keys=keys)
        if queries.shape[1] != self.of_queries.in_features:
            raise ValueError(f"dim: the loss was made for width {self.of_queries.in_features}, got {queries.shape[1]}")
        scale = 1 / self.temperature
        positive = scale * (queries * keys[:n]).sum(dim=1)  # (n,)
        ids = everyone.ids(keys, self.dist)
        scorer, own = self._scorer(queries, keys)
        heads = ((1.0, ()), (0.0, ()))[: 1 if self.weight_norm == "none" else 2]
        terms = (scorer, ExcludeSameId(ids[:n], ids))
        negatives, *weights = pairs.pair_lse(queries, keys, scale=scale, terms=terms, heads=heads, dist=self.dist)
        loss, valid = with_positive(negatives, positive, own), None
        if weights:
            valid = weights[0].isfinite()
            others = max(everyone.count(keys, self.dist) - 1, 1)
            loss = loss - weights[0].masked_fill(~valid, 0) + math.log(others)
        return self.reduce(loss, valid, "other key", positive=positive, denominator=loss + positive)

    def _scorer(self, queries: Tensor, keys: Tensor) -> tuple[AdditiveScorer | InterpolatedScorer, Tensor]:
        """Log-weights of all pairs, and of each query with its own key (n,)."""
        first, shift = self.of_queries.weight.to(queries), self.of_queries.bias.to(queries)
        seen = keys @ (first if self.of_keys is None else self.of_keys.weight.to(queries)).T
        weight, bias = self.score.weight[0].to(queries), self.score.bias[0].to(queries)
        asked = F.linear(queries, first, shift)
        own = F.logsigmoid(torch.tanh(asked + seen[: len(asked)]) @ weight + bias)
        if (
            self.dist is not None or torch.compiler.is_compiling()
        ):  # nodes depend on values: other processes have others
            return AdditiveScorer(asked, seen, weight, bias), own
        return additive_scorer(asked, seen, weight, bias), own
