"""Keys of other processes: each process contrasts its own queries with the keys of all.

Each process takes the mean loss over its own anchors; after the usual averaging of parameter gradients the result is
the gradient of the mean over all processes, for encoders and temperature alike. Terms take the ids, labels and codes
of this process's queries and keys; they travel along.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medgraph import processes
from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.term import PairTerm
from medgraph.losses.pairs.terms import DenseBias, SparseBias
from medgraph.losses.pairs.tiled import Plan, Pull, tiled_lse

EXCHANGES = (None, "gather", "ring")
Heads = tuple[tuple[float, tuple[PairTerm, ...]], ...]
Factors = Sequence[Tensor]


def local_mean(values: Tensor, valid: Tensor, group: Any = None) -> Tensor:
    """Mean over the valid anchors of this process, weighted so that processes with more of them count more.

    valid_here * world / valid_everywhere * mean: averaged over processes this is the mean over all valid anchors.
    """
    everywhere = processes.all_reduce_sum(valid.sum(), group).clamp(min=1)
    return values.masked_fill(~valid, 0).sum() * processes.world_size(group) / everywhere


def gather_keys(
    keys: Tensor, column_bias: Tensor | None, terms: Sequence[PairTerm], heads: Heads, sizes: list[int], group: Any
) -> tuple[Tensor, Tensor | None, tuple[PairTerm, ...], Heads]:
    """Keys, their biases and the terms about them, of all processes. Memory O(all keys).

    Raises:
        ValueError: A term holds indices or pairs, which cannot travel.
    """
    check_terms((*terms, *(term for _, extra in heads for term in extra)))

    def everywhere(term: PairTerm) -> PairTerm:
        return _with_keys(term, [processes.gather(factor, group, sizes) for factor in term.column_factors])

    bias = None if column_bias is None else processes.gather(column_bias, group, sizes)
    all_heads = tuple((alpha, tuple(map(everywhere, extra))) for alpha, extra in heads)
    return processes.gather(keys, group, sizes), bias, tuple(map(everywhere, terms)), all_heads


def own_columns(partial: Tensor, sizes: list[int], group: Any) -> Tensor:
    """From sums over this process's queries for all keys (h, all keys): sums over all queries for its own keys."""
    world = len(sizes)
    everyone = processes.gather(partial[None], group, [1] * world)  # (world, h, all keys)
    own = everyone.split(sizes, dim=2)[processes.rank(group)]
    empty = (own == -torch.inf).all(dim=0, keepdim=True)
    return own.masked_fill(empty, 0).logsumexp(0).masked_fill(empty[0], -torch.inf)


def ring_lse(
    queries: Tensor, keys: Tensor, scale: Tensor, row_bias: Tensor | None, column_bias: Tensor | None, plan: Plan, group
) -> tuple[Tensor, Tensor | None]:
    """The same sums while blocks of keys travel from process to process. Memory O(own keys) for any number of them.

    Raises:
        ValueError: A term holds indices or pairs, which cannot travel.
    """
    check_terms(plan.all_terms)
    factors = [factor for term in plan.all_terms for factor in term.factors]
    result = _Ring.apply(plan, group, queries, keys, scale, row_bias, column_bias, *factors)
    return (result[0], result[1]) if plan.columns else (result[0], None)


class _Ring(torch.autograd.Function):
    """One trip around the ring forward, for rows and columns; one backward."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, group: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any, *factors) -> Any:
        sizes = processes.counts(k, group)
        over_rows = q.new_full((len(plan.heads), len(q)), -torch.inf)

        def visit(block: tuple[Tensor, ...]) -> list[Tensor]:
            keys, bias, there = unpack(plan, block, factors, b is not None)
            rows, columns = tiled_lse(q, keys, scale, a, bias, plan_for(plan, there))
            torch.logaddexp(over_rows, rows, out=over_rows)
            return [] if columns is None else [columns.T]

        travelling = pack(plan, k, b, factors)
        columns = trip(visit, travelling, torch.logaddexp, sizes, group)
        over_columns = columns[0].T.contiguous() if plan.columns else None
        ctx.plan, ctx.group, ctx.sizes = plan, group, sizes
        ctx.save_for_backward(q, k, scale, a, b, over_rows, over_columns, *factors)
        return (over_rows, over_columns) if plan.columns else (over_rows,)

    @staticmethod
    @first_order
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        q, k, scale, a, b, over_rows, over_columns, *factors = ctx.saved_tensors
        statistics = (over_columns.T, upstream[1].T) if ctx.plan.columns else ()

        def run(pull: Pull, columns: Sequence[Tensor]) -> None:
            pull.run(over_rows, upstream[0], *((x.T for x in columns) if columns else (None, None)))

        inputs = q, k, scale, a, b, *factors
        return (
            None,
            None,
            *ring_gradients(run, ctx.plan, inputs, statistics, ctx.needs_input_grad[1:], ctx.sizes, ctx.group),
        )


def ring_gradients(
    run: Callable[[Pull, Sequence[Tensor]], None],
    plan: Plan,
    inputs: tuple[Any, ...],
    statistics: Sequence[Tensor],
    needs: Sequence[bool],
    sizes: list[int],
    group: Any,
) -> list[Any]:
    """The gradients of all inputs, in one trip around the ring: those of the keys travel along and come home.

    Args:
        run: Adds the gradients of one block to a `Pull`, given what `statistics` hold about the block.
        plan: As in the forward trip.
        inputs: q, k, scale, row bias, column bias and all factors.
        statistics: Further tensors that travel with the keys, one row per key.
        needs: What needs a gradient, as `Pull` takes it.
        sizes: Number of keys in each process.
        group: Process group.
    """
    q, k, scale, a, b, *factors = inputs
    at_home: list[Tensor | None] = [None] * len(inputs)
    leaving = [1] + ([4] if b is not None else []) + [5 + i for i in _column_places(plan)]  # k, b, column factors
    leaving = [i for i in leaving if needs[1 + i]]

    def visit(block: tuple[Tensor, ...]) -> list[Any]:
        keys, bias, there = unpack(plan, block[len(statistics) :], factors, b is not None)
        pull = Pull(plan_for(plan, there), q, keys, scale, a, bias, there, needs)
        run(pull, block[: len(statistics)])
        found = pull.gradients()
        for i, gradient in enumerate(found):
            if i not in leaving and gradient is not None:
                so_far = at_home[i]
                at_home[i] = gradient if so_far is None else so_far + gradient
        return [found[i] for i in leaving]

    home = trip(visit, (*statistics, *pack(plan, k, b, factors)), torch.add, sizes, group)
    for i, gradient in zip(leaving, home, strict=True):
        at_home[i] = gradient
    return [gradient if need else None for gradient, need in zip(at_home, needs[1:], strict=True)]


def trip(visit: Any, block: tuple[Tensor, ...], merge: Any, sizes: list[int], group: Any) -> tuple[Tensor, ...]:
    """Let every block of keys visit every process; what `visit` returns about a block goes along, merged, and home.

    The next block is on its way while this one is worked on.
    """
    world, rank = len(sizes), processes.rank(group)
    results: processes.Shift | None = None
    for step in range(world):
        coming = sizes[(rank - step - 1) % world]
        blocks = processes.Shift(block, coming, group) if step < world - 1 else None
        found = visit(block)
        if results is not None:
            found = [merge(x, y) for x, y in zip(results.wait(), found, strict=True)]
        results = processes.Shift(found, coming, group, tag=len(block))
        block = block if blocks is None else blocks.wait()
    assert results is not None
    return results.wait()


def _column_places(plan: Plan) -> list[int]:
    places: list[int] = []
    first = 0
    for term in plan.all_terms:
        first += len(term.row_factors)
        places += range(first, first + len(term.column_factors))
        first += len(term.column_factors) + len(term.shared_factors)
    return places


def pack(plan: Plan, keys: Tensor, bias: Tensor | None, factors: Factors) -> tuple[Tensor, ...]:
    """Everything about a block of keys, to travel."""
    return (keys, *(() if bias is None else (bias,)), *(factors[i] for i in _column_places(plan)))


def unpack(plan: Plan, block: Sequence[Tensor], factors: Factors, biased: bool) -> tuple[Tensor, Any, list[Tensor]]:
    """Keys, bias, and all factors with those of the keys replaced by the block's."""
    there = [factor.detach() for factor in factors]
    for i, factor in zip(_column_places(plan), block[2 if biased else 1 :], strict=True):
        there[i] = factor
    return block[0], block[1] if biased else None, there


def plan_for(plan: Plan, factors: Factors) -> Plan:
    """The plan with its terms holding the given factors."""
    pieces = iter(factors)

    def moved(term: PairTerm) -> PairTerm:
        rows = [next(pieces) for _ in term.row_factors]
        columns = [next(pieces) for _ in term.column_factors]
        shared = [next(pieces) for _ in term.shared_factors]
        result = _with_keys(term, columns)
        result.row_factors, result.shared_factors = tuple(rows), tuple(shared)
        return result

    terms = tuple(moved(term) for term in plan.terms)
    return replace(plan, terms=terms, heads=tuple((alpha, tuple(map(moved, extra))) for alpha, extra in plan.heads))


def _with_keys(term: PairTerm, column_factors: Factors) -> PairTerm:
    result = copy.copy(term)
    result.column_factors = tuple(column_factors)
    return result


def check_terms(terms: Sequence[PairTerm]) -> None:
    """Raise ValueError for a term that holds indices or pairs, which cannot travel."""
    for term in terms:
        if isinstance(term, SparseBias | DenseBias):
            raise ValueError(
                f"{type(term).__name__} lists pairs of this process and cannot travel; use a term made of "
                "ids, labels or codes, or dist=None"
            )
