"""`pair_lse`: exact log-sum-exp over all pairs of queries and keys, in linear memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medgraph import checks, processes
from medgraph.losses.pairs import compiled, exchange, fused
from medgraph.losses.pairs.dense import dense_lse
from medgraph.losses.pairs.term import PairTerm
from medgraph.losses.pairs.tiled import Plan, tile_size, tiled_lse

BACKENDS = ("auto", "dense", "tiled", "triton")
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
    dist: str | None = None,
    group: Any = None,
    tile: int | None = None,
    backend: str = "auto",
    deterministic: bool = True,
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
        dist: Keys of other processes: None ignores them, "gather" collects all, "ring" passes blocks round and keeps
            linear memory. q, k and terms stay this process's own; ids must be unique over processes.
        group: Process group of `dist`; None is all processes.
        tile: Rows and columns of a tile; None picks them to fit the cache.
        backend: "dense" (whole matrix), "tiled" (linear memory), "triton" (fused kernels for GPUs, linear memory; what
            they do not know, see `fused`, runs on tiles with a warning), or "auto": triton on a GPU that has it,
            else by size.
        deterministic: False lets the fused kernels choose their tiles by timing, once for every bucket of shapes; sums
            may then differ in the last bits from one process to the next. Tiles and the whole matrix always repeat.

    Returns:
        L (heads, n), or (L, C) with C (heads, m).
    """
    options: dict[str, Any] = {"columns": columns, "tile": tile, "backend": backend, "deterministic": deterministic}
    if torch.compiler.is_compiling():
        sums = compiled.call(_operation, _lse, q, k, scale, row_bias, col_bias, terms, heads, dist, group, options)
    else:
        sums = _lse(q, k, scale, row_bias, col_bias, terms, heads, dist=dist, group=group, **options)
    return (sums[0], sums[1]) if columns else sums[0]


def _lse(
    q: Tensor,
    k: Tensor | None,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: Sequence[PairTerm],
    heads: Sequence[tuple[float, Sequence[PairTerm]]],
    *,
    columns: bool,
    tile: int | None,
    backend: str,
    deterministic: bool = True,
    dist: str | None = None,
    group: Any = None,
    known: Sequence[Tensor] | None = None,
) -> Any:
    """`pair_lse` as a tuple of sums. Those `known` are not computed again, which leaves their gradients."""
    checks.one_of("backend", backend, BACKENDS)
    keys = q if k is None else k
    all_heads = tuple((float(alpha), tuple(extra)) for alpha, extra in heads)
    all_terms = (*terms, *(term for _, extra in all_heads for term in extra))
    check_inputs(q, keys, scale, row_bias, col_bias, all_terms)
    if not all_heads or any(alpha < 0 for alpha, _ in all_heads):
        raise ValueError(f"heads: expected at least one (alpha, terms) with alpha 0 or more, got {heads!r}")
    checks.one_of("dist", dist, exchange.EXCHANGES)
    if dist == "ring" and backend in ("dense", "triton"):
        raise ValueError('dist="ring" works on tiles; use backend "auto" or "tiled", or dist="gather"')
    tuned = not deterministic
    over_rows, over_columns = _reduce(
        q, keys, scale, row_bias, col_bias, tuple(terms), all_heads, columns, dist, group, tile, backend, tuned, known
    )
    return (over_rows,) if over_columns is None else (over_rows, over_columns)


def _sizes(
    num_rows: int, num_columns: int, num_heads: int, options: dict[str, Any]
) -> tuple[compiled.Size, compiled.Size]:
    return (num_heads, num_rows), (num_heads, num_columns) if options["columns"] else (0,)


_operation = compiled.register("pair_lse", _lse, _sizes)


def _reduce(
    q: Tensor,
    keys: Tensor,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: tuple[PairTerm, ...],
    heads: exchange.Heads,
    columns: bool,
    dist: str | None,
    group: Any,
    tile: int | None,
    backend: str,
    tuned: bool,
    known: Sequence[Tensor] | None,
) -> tuple[Tensor, Tensor | None]:
    """The sums by the chosen backend, over the keys of the chosen processes."""
    together = dist is not None and processes.world_size(group) > 1
    ring = together and dist == "ring"
    all_terms = (*terms, *(term for _, extra in heads for term in extra))
    dtype = torch.promote_types(q.dtype, keys.dtype)
    is_fused = not ring and min(len(q), len(keys)) > 0 and fused.is_fused(backend, q.device, dtype, all_terms)
    with torch.autocast(q.device.type, enabled=False):
        dtype = dtype if is_fused else torch.promote_types(dtype, torch.float32)
        queries = q.to(dtype)
        keys = queries if keys is q else keys.to(dtype)
        vectors = torch.promote_types(dtype, torch.float32)
        a, b = (None if bias is None else bias.to(vectors) for bias in (row_bias, col_bias))
        symmetric = not together and keys is queries and row_bias is col_bias
        sizes = processes.counts(keys, group) if together and dist == "gather" else []
        if sizes:
            keys, b, terms, heads = exchange.gather_keys(keys, b, terms, heads, sizes, group)
        is_small = not ring and len(q) * len(keys) < DENSE_BELOW
        if not is_fused and (backend == "dense" or (backend == "auto" and is_small)):
            over_rows, over_columns = dense_lse(queries, keys, scale, a, b, terms, heads, columns)
        else:
            plan = replace(_plan(queries, scale, terms, heads, columns, symmetric, tile), tuned=tuned)
            inputs = queries, keys, torch.as_tensor(scale, dtype=vectors, device=q.device), a, b, plan
            if ring:
                over_rows, over_columns = exchange.ring_lse(*inputs, group)
            else:
                over_rows, over_columns = fused.fused_lse(*inputs, known) if is_fused else tiled_lse(*inputs, known)
    if over_columns is not None and sizes:
        over_columns = exchange.own_columns(over_columns, sizes, group)
    return over_rows, over_columns


def _plan(
    q: Tensor,
    scale: float | Tensor,
    terms: tuple[PairTerm, ...],
    heads: exchange.Heads,
    columns: bool,
    symmetric: bool,
    tile: int | None,
) -> Plan:
    all_terms = (*terms, *(term for _, extra in heads for term in extra))
    symmetric = symmetric and (not isinstance(scale, Tensor) or scale.ndim == 0)
    symmetric = symmetric and all(term.symmetric and not term.learnable for term in all_terms)
    size = tile_size(q.device, len(heads), all_terms) if tile is None else checks.at_least("tile", tile, 1)
    return Plan(terms, heads, columns, symmetric, size)


def check_inputs(
    q: Tensor,
    keys: Tensor,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: Sequence[PairTerm],
) -> None:
    """Raise ValueError or TypeError naming what does not fit: shapes, dtypes, NaN, the length of a term."""
    check_embeddings("q", q)
    if keys is not q:
        check_embeddings("k", keys)
    if q.shape[1] != keys.shape[1]:
        raise ValueError(f"q has width {q.shape[1]} but k has width {keys.shape[1]}; both need the same projector")
    if isinstance(scale, Tensor) and scale.ndim > 0 and scale.shape != (len(q),):
        raise ValueError(f"scale: expected a number or one per query ({len(q)},), got shape {tuple(scale.shape)}")
    for name, bias, size in (("row_bias", row_bias, len(q)), ("col_bias", col_bias, len(keys))):
        if bias is not None and bias.shape != (size,):
            raise ValueError(f"{name}: expected shape ({size},), got {tuple(bias.shape)}")
    for term in terms:
        term.check(len(q), len(keys))


def check_embeddings(name: str, x: Tensor) -> None:
    """Raise TypeError or ValueError unless `x` holds finite floating-point rows (n, d); names the wrong rows."""
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected floating-point embeddings, got {x.dtype}; did ids or labels come first?")
    if x.ndim != 2:
        raise ValueError(f"{name}: expected shape (examples, dim), got {tuple(x.shape)}")
    refuse_not_finite(name, x)


def refuse_not_finite(name: str, x: Tensor) -> None:
    """Raise ValueError naming the rows of `x` (n, d) that are not finite."""
    if torch.compiler.is_compiling():
        return  # a graph cannot ask; the reductions look when they run
    bad = ~x.detach().isfinite().all(dim=1)
    if bad.any():
        rows = bad.nonzero().flatten().tolist()
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise ValueError(
            f"{name}: NaN or infinity in {len(rows)} of {len(x)} embeddings, rows {shown}; check the encoder"
        )
