"""MomentumContrast: tell each query's own key from the keys of a queue."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, units, with_positive
from medgraph.losses.pairs.terms import ColumnLogWeight, ExcludeSameId, PairTerm, RequireEqual


class MomentumContrast(ContrastiveLoss):
    """MoCo's loss [1]: one positive from a momentum encoder, negatives from past batches.

    mean_i [ log( exp(x_ii) + sum_{j in queue} w_j exp(x_ij) ) - x_ii ],  x = cosine / temperature.

    Keys and queue carry no gradient. Entries of the query's own example are no negatives if ids are given, nor are
    empty slots (id -1); a code (site, scanner) limits negatives to the query's own, so that it cannot solve the task.
    Queries without any negative are left out; with none left the loss is 0.

    [1] He et al., 2020, arXiv:1911.05722, Eq. 1.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" or "ring" (alike here: the queue is equal in all processes) weights processes by their number of
            queries; None does not.

    Example:
        >>> loss = MomentumContrast(temperature=1.0)(torch.eye(2), torch.eye(2), torch.eye(2))
        >>> round(loss.item(), 4)
        0.862
    """

    def __init__(self, temperature: float = 0.07, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(
        self,
        queries: Float[Tensor, "n d"],
        keys: Float[Tensor, "n d"],
        queue: Float[Tensor, "m d"],
        ids: Int[Tensor, " n"] | None = None,
        queue_ids: Int[Tensor, " m"] | None = None,
        log_weights: Float[Tensor, " m"] | None = None,
        codes: Int[Tensor, " n"] | None = None,
        queue_codes: Int[Tensor, " m"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of a batch against `Queue.vectors()`, with `Queue.ids()`, `.log_weights()` and `.codes()` on request."""
        checks.same_length(queries=queries, keys=keys)
        queries, keys, queue = units(queries=queries, keys=keys.detach(), queue=queue.detach())
        scale = 1 / self.temperature
        positive = own_logits(queries, keys, scale)  # (n,)
        terms: list[PairTerm] = []
        for name, own, held, term in (
            ("ids", ids, queue_ids, ExcludeSameId),
            ("codes", codes, queue_codes, RequireEqual),
        ):
            if (own is None) != (held is None):
                raise ValueError(f"{name}: expected those of the queries and of the queue together, got only one")
            if own is not None and held is not None:
                terms.append(term(own, held))
        if log_weights is not None:
            terms.append(ColumnLogWeight(log_weights.to(queries)))
        over_queue = pairs.pair_lse(queries, queue.to(queries), scale=scale, terms=terms)[0]
        loss = with_positive(over_queue, positive)
        denominator = torch.logaddexp(over_queue, positive)
        return self.reduce(loss, over_queue.isfinite(), "negative", positive=positive, denominator=denominator)
