"""`pair_sum`: sum of a function of each score over all keys, in linear memory."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medgraph import checks, processes
from medgraph.losses.pairs import compiled, dense, exchange, fused
from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.fused_sum import fused_sum
from medgraph.losses.pairs.lse import BACKENDS, DENSE_BELOW, check_inputs
from medgraph.losses.pairs.softplus import softplus
from medgraph.losses.pairs.term import Block, PairTerm, add_terms
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyNegatives, OnlyPositives
from medgraph.losses.pairs.tiled import Plan, Pull, tile_scores, tile_size

# name -> (function, its derivative)
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "identity": (lambda x: x, torch.ones_like),
    "softplus": (softplus, torch.sigmoid),
    "square": (torch.square, lambda x: 2 * x),
    "relu": (torch.relu, lambda x: (x > 0).to(x.dtype)),
    "exp": (torch.exp, torch.exp),
}


def pair_sum(
    q: Tensor,
    k: Tensor | None = None,
    *,
    phi: str,
    offset: Tensor | None = None,
    scale: float | Tensor = 1.0,
    row_bias: Tensor | None = None,
    col_bias: Tensor | None = None,
    terms: Sequence[PairTerm] = (),
    dist: str | None = None,
    group: Any = None,
    tile: int | None = None,
    backend: str = "auto",
    deterministic: bool = True,
) -> Tensor:
    """Weighted, masked sum over all keys of a function of the score.

        R_i = sum_j exp(w_ij) phi(scale_i <q_i, k_j> + row_bias_i + col_bias_j - offset_i)

    A sum of plain scores ("identity") under no term or one label or id term takes O((n + m) d) time as well.

    Args:
        q: Queries (n, d).
        k: Keys (m, d); None sums over the queries themselves, self included.
        phi: "identity", "softplus", "square", "relu" or "exp".
        offset: Subtracted from the scores of each query (n,); terms that read scores see them after that.
        scale: 1 / temperature: a number, a scalar tensor or one per query (n,).
        row_bias: Added to the scores of each query (n,).
        col_bias: Added to the scores of each key (m,).
        terms: Masks and log-weights; w is their sum.
        dist: Sum over the keys of all processes, collected ("gather") or passed round in linear memory ("ring").
        group: Process group of `dist`; None is all processes.
        tile: Rows and columns of a tile; None picks them to fit the cache.
        backend: "dense" (whole matrix), "tiled" (linear memory), "triton" (fused kernels, see `pair_lse`), or "auto":
            triton on a GPU that has it, else by size.
        deterministic: False lets the fused kernels choose their tiles by timing, see `pair_lse`.

    Returns:
        R (n,), 0 for a query without any pair.
    """
    checks.one_of("phi", phi, FUNCTIONS)
    if offset is not None:
        if offset.shape != (len(q),):
            raise ValueError(f"offset: expected shape ({len(q)},), got {tuple(offset.shape)}")
        row_bias = -offset if row_bias is None else row_bias - offset
    options: dict[str, Any] = {"phi": phi, "tile": tile, "backend": backend, "deterministic": deterministic}
    if torch.compiler.is_compiling():
        return compiled.call(_operation, _sum, q, k, scale, row_bias, col_bias, terms, (), dist, group, options)[0]
    return _sum(q, k, scale, row_bias, col_bias, terms, dist=dist, group=group, **options)[0]


def _sum(
    q: Tensor,
    k: Tensor | None,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: Sequence[PairTerm],
    heads: tuple[Any, ...] = (),
    *,
    phi: str,
    tile: int | None,
    backend: str,
    deterministic: bool = True,
    dist: str | None = None,
    group: Any = None,
    known: Sequence[Tensor] | None = None,
) -> tuple[Tensor]:
    """`pair_sum` without offset. Sums that are `known` are not computed again, which leaves their gradients."""
    checks.one_of("backend", backend, BACKENDS)
    checks.one_of("dist", dist, exchange.EXCHANGES)
    if dist == "ring" and backend in ("dense", "triton"):
        raise ValueError('dist="ring" works on tiles; use backend "auto" or "tiled", or dist="gather"')
    keys = q if k is None else k
    check_inputs(q, keys, scale, row_bias, col_bias, terms)
    together = dist is not None and processes.world_size(group) > 1
    ring = together and dist == "ring"
    dtype = torch.promote_types(q.dtype, keys.dtype)
    linear = phi == "identity" and backend == "auto" and not ring and _is_linear(terms)
    is_fused = not (ring or linear) and min(len(q), len(keys)) > 0
    is_fused = is_fused and fused.is_fused(backend, q.device, dtype, tuple(terms))
    with torch.autocast(q.device.type, enabled=False):
        vectors = torch.promote_types(dtype, torch.float32)
        dtype = dtype if is_fused else vectors
        q, keys, scale = q.to(dtype), keys.to(dtype), torch.as_tensor(scale, dtype=vectors, device=q.device)
        a, b = (None if bias is None else bias.to(vectors) for bias in (row_bias, col_bias))
        if together and dist == "gather":
            keys, b, terms, _ = exchange.gather_keys(keys, b, terms, (), processes.counts(keys, group), group)
            linear = linear and _is_linear(terms)  # another process may hold empty slots
        if linear:
            return (_linear(q, keys, scale, a, b, terms),)
        return (
            _reduce(
                phi, q, keys, scale, a, b, tuple(terms), ring, is_fused, group, tile, backend, not deterministic, known
            ),
        )


_operation = compiled.register("pair_sum", _sum, lambda rows, columns, heads, options: ((rows,), (0,)))


def _reduce(
    phi: str,
    q: Tensor,
    keys: Tensor,
    scale: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    terms: tuple[PairTerm, ...],
    ring: bool,
    is_fused: bool,
    group: Any,
    tile: int | None,
    backend: str,
    tuned: bool,
    known: Sequence[Tensor] | None,
) -> Tensor:
    """The sum by the chosen backend."""
    is_small = backend == "auto" and not ring and len(q) * len(keys) < DENSE_BELOW
    if not is_fused and (backend == "dense" or is_small):
        x = dense.scores(q, keys, scale, a, b)
        return _weigh(FUNCTIONS[phi][0], x, _weights(x, terms, Block(0, len(q), 0, len(keys)))).sum(1)
    size = tile_size(q.device, 1, terms) if tile is None else checks.at_least("tile", tile, 1)
    plan = Plan(terms, ((1.0, ()),), False, False, size, tuned)
    if is_fused:
        return fused_sum(phi, q, keys, scale, a, b, plan, known)
    factors = (factor for term in terms for factor in term.factors)
    if ring:
        exchange.check_terms(terms)
        return _RingSum.apply(plan, phi, group, q, keys, scale, a, b, *factors)
    return _TiledSum.apply(plan, phi, known, q, keys, scale, a, b, *factors)


class _TiledSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, phi: str, known: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any, *factors
    ):
        ctx.plan, ctx.phi = plan, phi
        ctx.save_for_backward(q, k, scale, a, b, *factors)
        return _sum_tiles(plan, phi, q, k, scale, a, b) if known is None else known[0].detach()

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Any:
        q, k, scale, a, b, *factors = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            pull = Pull(ctx.plan, q, k, scale, a, b, factors, ctx.needs_input_grad[2:])
            _pull_tiles(pull, ctx.phi, upstream)
            return (None, None, None, *pull.gradients())


class _RingSum(torch.autograd.Function):
    """The same while blocks of keys travel from process to process. Memory O(own keys) for any number of them."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, phi: str, group: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any, *factors
    ):
        total = q.new_zeros(len(q))

        def visit(block: tuple[Tensor, ...]) -> list[Tensor]:
            keys, bias, there = exchange.unpack(plan, block, factors, b is not None)
            total.add_(_sum_tiles(exchange.plan_for(plan, there), phi, q, keys, scale, a, bias))
            return []

        ctx.plan, ctx.phi, ctx.group, ctx.sizes = plan, phi, group, processes.counts(k, group)
        exchange.trip(visit, exchange.pack(plan, k, b, factors), torch.add, ctx.sizes, group)
        ctx.save_for_backward(q, k, scale, a, b, *factors)
        return total

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Any:
        def run(pull: Pull, _: Sequence[Tensor]) -> None:
            _pull_tiles(pull, ctx.phi, upstream)

        with torch.autocast(upstream.device.type, enabled=False):
            found = exchange.ring_gradients(
                run, ctx.plan, ctx.saved_tensors, (), ctx.needs_input_grad[2:], ctx.sizes, ctx.group
            )
            return (None, None, None, *found)


def _sum_tiles(plan: Plan, phi: str, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any) -> Tensor:
    total = q.new_zeros(len(q))
    for block in plan.blocks(len(q), len(k)):
        x = tile_scores(q, k, scale, a, b, block)
        total[block.rows] += _weigh(FUNCTIONS[phi][0], x, _weights(x, plan.terms, block)).sum(1)
    return total


def _pull_tiles(pull: Pull, phi: str, upstream: Tensor) -> None:
    function, derivative = FUNCTIONS[phi]
    for block in pull.plan.blocks(len(pull.q), len(pull.k)):
        x = tile_scores(pull.q, pull.k, pull.scale, pull.a, pull.b, block)
        weights, g = _weights(x, pull.plan.terms, block), upstream[block.rows, None]
        pull.pull_terms([g * _weigh(function, x, weights)], x, block)
        pull.pull_inputs([g * _weigh(derivative, x, weights)], block)


def _weights(x: Tensor, terms: Sequence[PairTerm], block: Block) -> Tensor | None:
    return add_terms(torch.zeros_like(x), terms, block, x.detach()).exp() if terms else None


def _weigh(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor | None) -> Tensor:
    """Weights times function of the scores; a removed pair counts 0 even where the function would overflow."""
    return function(x) if weights is None else weights * function(x.masked_fill(weights == 0, 0))


def _is_linear(terms: Sequence[PairTerm]) -> bool:
    if len(terms) == 1 and isinstance(terms[0], ExcludeSameId):
        return not terms[0].has_empty
    return not terms or (len(terms) == 1 and isinstance(terms[0], OnlyPositives | OnlyNegatives))


def _linear(
    q: Tensor, k: Tensor, scale: Tensor, a: Tensor | None, b: Tensor | None, terms: Sequence[PairTerm]
) -> Tensor:
    """A sum of scores is the score of the sum of keys: over all keys, or over those of the same or another label."""
    b = k.new_zeros(len(k)) if b is None else b
    packed = torch.cat([k, b[:, None], torch.ones_like(b)[:, None]], dim=1)  # keys, biases, counts (m, d + 2)
    total = packed.sum(0).expand(len(q), -1)
    if terms:
        both = torch.cat([terms[0].row_factors[0], terms[0].column_factors[0]])
        labels, codes = both.unique(return_inverse=True)
        query_codes, key_codes = codes[: len(q)], codes[len(q) :]
        sums = packed.new_zeros(len(labels), packed.shape[1]).index_add(0, key_codes, packed)
        same = sums[query_codes]
        total = same if isinstance(terms[0], OnlyPositives) else total - same
    result = scale * (q * total[:, :-2]).sum(1) + total[:, -2]
    return result if a is None else result + a * total[:, -1]
