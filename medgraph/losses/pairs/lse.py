"""`pair_lse`: exact log-sum-exp over all pairs of queries and keys, in linear memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.losses.pairs.dense import dense_lse
from medgraph.losses.pairs.terms import PairTerm
from medgraph.losses.pairs.tiled import Plan, tile_size, tiled_lse

BACKENDS = ("auto", "dense", "tiled")
DENSE_BELOW = 2**16  # pairs; below, the whole matrix is at least as fast as tiles (our measurement, d = 128)


def pair_lse(
    q: Tensor,
    k: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    row_bias: Tensor | None = None,
    col_bias: Tensor | None = None,
    terms: Sequence[PairTerm] = (),
    heads: Sequence[tuple[float, Sequence[PairTerm]]] = ((1.0, ()),),
    columns: bool = False,
    tile: int | None = None,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Weighted, masked log-sum-exp of a virtual score matrix, by row and on request by column.

        x_ij = scale_i <q_i, k_j> + row_bias_i + col_bias_j
        L[h, i] = log sum_j exp(alpha_h x_ij + w[h]_ij),   C[h, j] = log sum_i exp(alpha_h x_ij + w[h]_ij)

    w[h] is the sum of `terms` and of the terms of head h; alpha does not multiply it, so alpha = 0 gives the log
    of the total weight. An empty row gives -inf and a gradient of zero. Sums run in float32 (float64 for float64).

    Args:
        q: Queries (n, d), normalised by the caller if at all.
        k: Keys (m, d); None contrasts the queries with themselves. Self is then NOT removed: `ExcludeSameId` does.
        scale: 1 / temperature: a number, a scalar tensor or one per query (n,).
        row_bias: Added to the scores of each query (n,).
        col_bias: Added to the scores of each key (m,).
        terms: Masks and log-weights of all heads.
        heads: One (alpha, further terms) per head; all heads share the scores.
        columns: Also return the sums over queries; costs no second pass.
        tile: Rows and columns of a tile; None picks them to fit the cache.
        backend: "dense" (whole matrix), "tiled" (linear memory), or "auto" by size.

    Returns:
        L (heads, n), or (L, C) with C (heads, m).
    """
    checks.one_of("backend", backend, BACKENDS)
    keys = q if k is None else k
    all_heads = tuple((float(alpha), tuple(extra)) for alpha, extra in heads)
    all_terms = (*terms, *(term for _, extra in all_heads for term in extra))
    check_inputs(q, keys, scale, row_bias, col_bias, all_terms)
    if not all_heads or any(alpha < 0 for alpha, _ in all_heads):
        raise ValueError(f"heads: expected at least one (alpha, terms) with alpha 0 or more, got {heads!r}")
    with torch.autocast(q.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(q.dtype, keys.dtype), torch.float32)
        queries, keys = q.to(dtype), q.to(dtype) if k is None else k.to(dtype)
        if backend == "dense" or (backend == "auto" and len(q) * len(keys) < DENSE_BELOW):
            result = dense_lse(queries, keys, scale, row_bias, col_bias, tuple(terms), all_heads, columns)
        else:
            scale = torch.as_tensor(scale).to(queries)
            symmetric = (k is None or k is q) and scale.ndim == 0 and row_bias is col_bias
            symmetric = symmetric and all(term.symmetric and not term.learnable for term in all_terms)
            size = tile_size(q.device, len(all_heads), all_terms) if tile is None else checks.at_least("tile", tile, 1)
            plan = Plan(tuple(terms), all_heads, columns, symmetric, size)
            a, b = (None if bias is None else bias.to(dtype) for bias in (row_bias, col_bias))
            result = tiled_lse(queries, keys, scale, a, b, plan)
    over_rows, over_columns = result
    if not columns:
        return over_rows
    assert over_columns is not None
    return over_rows, over_columns


def check_inputs(
    q: Tensor,
    keys: Tensor,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: Sequence[PairTerm],
) -> None:
    """Raise ValueError or TypeError naming what does not fit: shapes, dtypes, NaN, the length of a term."""
    for name, x in (("q", q), ("k", keys)):
        if not x.is_floating_point():
            raise TypeError(f"{name}: expected floating-point embeddings, got {x.dtype}; did ids or labels come first?")
        if x.ndim != 2:
            raise ValueError(f"{name}: expected shape (examples, dim), got {tuple(x.shape)}")
    if q.shape[1] != keys.shape[1]:
        raise ValueError(f"q has width {q.shape[1]} but k has width {keys.shape[1]}; both need the same projector")
    if isinstance(scale, Tensor) and scale.ndim > 0 and scale.shape != (len(q),):
        raise ValueError(f"scale: expected a number or one per query ({len(q)},), got shape {tuple(scale.shape)}")
    for name, bias, size in (("row_bias", row_bias, len(q)), ("col_bias", col_bias, len(keys))):
        if bias is not None and bias.shape != (size,):
            raise ValueError(f"{name}: expected shape ({size},), got {tuple(bias.shape)}")
    for name, x in (("q", q), ("k", keys)):
        bad = x.detach().isnan().any(dim=1)
        if bad.any():
            rows = bad.nonzero().flatten().tolist()
            shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            raise ValueError(f"{name}: NaN in {len(rows)} of {len(x)} embeddings, rows {shown}; check the encoder")
    for term in terms:
        term.check(len(q), len(keys))
