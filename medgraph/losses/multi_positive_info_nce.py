"""MultiPositiveInfoNCE: several keys are positives of a query, the other keys its negatives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, paired, with_positive
from medgraph.losses.pairs.positives import by_edges
from medgraph.losses.pairs.terms import CodeDisagreement, PairTerm, SparseBias


class MultiPositiveInfoNCE(ContrastiveLoss):
    """InfoNCE whose numerator sums over a query's positives, as HeCo's [1].

    mean_i [ log( sum_{j not in P_i} w_ij exp(x_ij) [+ positives] ) - log sum_{p in P_i} exp(x_ip) ],
    x = cosine / temperature, i itself in P_i, w_ij = clusterings in which i and j differ, or 1 without codes.

    Queries without any key to tell positives from, or without positives, are left out; with none left the loss is 0.
    Memory is linear in the examples and the listed positives.

    [1] Wang et al., 2021, arXiv:2105.09111, Eq. 10.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        positive_in_denominator: "never" removes positives from the denominator; "always" adds them with weight 1, so
            that the loss is at least 0.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" adds the keys of all other processes to the negatives; None stays with those of this process.
            Lists of pairs cannot be passed round a ring.

    Example:
        >>> own = torch.tensor([[0, 1], [0, 1]])
        >>> loss = MultiPositiveInfoNCE(1.0, positive_in_denominator="always")(torch.eye(2), torch.eye(2), own)
        >>> round(loss.item(), 4)
        0.3133
    """

    def __init__(
        self,
        temperature: float = 0.1,
        positive_in_denominator: str = "never",
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.positive_in_denominator = checks.one_of(
            "positive_in_denominator", positive_in_denominator, ("never", "always")
        )
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))

    def forward(
        self,
        queries: Float[Tensor, "n d"],
        keys: Float[Tensor, "n d"],
        positives: Int[Tensor, "2 e"],
        codes: Int[Tensor, "n r"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of one batch; `positives` lists (query, key) pairs, ascending by query and with each query itself.

        Both count the rows given here, also with `dist`. A pair that is listed twice counts once.

        Raises:
            ValueError: Lengths differ, or `positives` is no list of pairs of the rows given here.
        """
        checks.same_length(queries=queries, keys=keys)
        queries, keys = paired(queries=queries, keys=keys)
        n, scale = len(queries), 1 / self.temperature
        _check_pairs(positives, n)
        rows, columns = positives[0].contiguous(), positives[1].contiguous()
        positive = by_edges(rows, columns, n, _once(rows * n + columns, queries)).lse(queries, keys, scale=scale)
        everyones, ids = everyone.rows(keys, self.dist), everyone.ids(keys, self.dist)
        removed = torch.full(rows.shape, -torch.inf, dtype=queries.dtype, device=queries.device)
        terms: list[PairTerm] = [SparseBias(rows, ids[columns], removed)]
        if codes is not None:
            checks.same_length(queries=queries, codes=codes)
            terms.append(CodeDisagreement(codes, everyone.rows(codes, self.dist)))
        negatives = pairs.pair_lse(queries, everyones, scale=scale, terms=terms)[0]
        valid = positive.isfinite()
        if self.positive_in_denominator == "always":
            positive, negatives = positive.masked_fill(~valid, 0), negatives.masked_fill(~valid, 0)
            loss = with_positive(negatives, positive)
        else:
            valid = valid & negatives.isfinite()
            positive, negatives = positive.masked_fill(~valid, 0), negatives.masked_fill(~valid, 0)
            loss = negatives - positive
        lack = "positive or nothing to tell it from"
        return self.reduce(loss, valid, lack, positive=positive, denominator=loss + positive)


def _check_pairs(positives: Tensor, n: int) -> None:
    if positives.ndim != 2 or len(positives) != 2:
        raise ValueError(f"positives: expected shape (2, pairs), queries and keys, got {tuple(positives.shape)}")
    if torch.compiler.is_compiling():
        return  # a graph cannot ask
    if positives.numel() and not 0 <= int(positives.min()) <= int(positives.max()) < n:
        raise ValueError(
            f"positives: expected numbers of examples from 0 to {n - 1}, "
            f"got {int(positives.min())} to {int(positives.max())}"
        )


def _once(pairs: Tensor, like: Tensor) -> Tensor | None:
    """Weight of each listed pair (e,): 0 where it was listed before; None if all weigh 1."""
    if not torch.compiler.is_compiling() and bool((pairs[1:] > pairs[:-1]).all()):
        return None
    ordered, order = pairs.sort(stable=True)
    first = torch.ones(pairs.shape, dtype=like.dtype, device=like.device)
    return first.scatter(0, order[1:], (ordered[1:] != ordered[:-1]).to(first))
