"""The whole matrix at once, by plain autograd: the oracle, and the fastest way for small inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph.losses.pairs.products import products
from medgraph.losses.pairs.term import Block, PairTerm, add_terms

Heads = Sequence[tuple[float, Sequence[PairTerm]]]


def scores(
    queries: Tensor, keys: Tensor, scale: Tensor | float, row_bias: Tensor | None, column_bias: Tensor | None
) -> Tensor:
    """x_ij = scale_i <q_i, k_j> + row_bias_i + column_bias_j, all pairs (n, m)."""
    if isinstance(scale, Tensor) and scale.ndim == 1:
        scale = scale[:, None]
    x = products(scale * queries, keys)
    x = x if row_bias is None else x + row_bias[:, None]
    return x if column_bias is None else x + column_bias[None, :]


def dense_lse(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor | float,
    row_bias: Tensor | None,
    column_bias: Tensor | None,
    terms: Sequence[PairTerm],
    heads: Heads,
    columns: bool,
) -> tuple[Tensor, Tensor | None]:
    """Row statistics (heads, n), and column statistics (heads, m) if asked for. Memory O(n m)."""
    x = scores(queries, keys, scale, row_bias, column_bias)
    block = Block(0, len(queries), 0, len(keys))
    over_rows, over_columns = [], []
    for alpha, extra in heads:
        logits = add_terms(alpha * x, (*terms, *extra), block, x.detach())
        over_rows.append(_lse(logits, 1))
        if columns:
            over_columns.append(_lse(logits, 0))
    return torch.stack(over_rows), torch.stack(over_columns) if columns else None


def _lse(logits: Tensor, dim: int) -> Tensor:
    """logsumexp whose empty rows are -inf with a gradient of zero instead of NaN."""
    empty = (logits == -torch.inf).all(dim=dim, keepdim=True)
    return logits.masked_fill(empty, 0.0).logsumexp(dim).masked_fill(empty.squeeze(dim), -torch.inf)
