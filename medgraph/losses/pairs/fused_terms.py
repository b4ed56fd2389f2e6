"""Pair terms as the fused kernels take them: a list of numbers, and the factors as vectors, in base 2."""

import math
from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs import terms
from medgraph.losses.pairs.distances import GaussianKernel, LogDistance, MinimalGap
from medgraph.losses.pairs.term import PairTerm
from medgraph.losses.pairs.tiled import Plan

LOG2E = 1 / math.log(2)
MAX_CODES = 8


def is_known(term: PairTerm) -> bool:
    """Whether the kernels know the term as it is used."""
    if type(term) is terms.ColumnLogWeight:
        return True
    if term.learnable:
        return False
    if type(term) is terms.CodeDisagreement:
        return term.row_factors[0].shape[1] <= MAX_CODES
    if type(term) is terms.LabelDistance:
        return type(term.function) in (LogDistance, GaussianKernel, MinimalGap)
    return type(term) in (
        terms.ExcludeSameId, terms.OnlyNegatives, terms.OnlyPositives, terms.RequireEqual,
        terms.ScoreFloor, terms.ScoreCeil,
    )  # fmt: skip


def pack(plan: Plan, q: Tensor, k: Tensor) -> tuple[tuple[int | float, ...], tuple[Tensor, ...]]:
    """The list of terms that the kernels read, and the factors: integers and floats, of rows and of columns."""
    from medgraph.losses.pairs import fused_tile as tile  # which imports Triton

    listed: list[int | float] = []
    ints: tuple[list[Tensor], list[Tensor]] = [], []
    floats: tuple[list[Tensor], list[Tensor]] = [], []
    for head, own in ((-1, plan.terms), *((h, extra) for h, (_, extra) in enumerate(plan.heads))):
        for term in own:
            kind, value, rows, columns = _describe(tile, term)
            whole = (rows or columns)[0].dtype == torch.int64
            into = ints if whole else floats
            listed += [kind.value, head, len(into[0]), len(into[1]), max(len(rows), len(columns)), value]
            into[0].extend(rows)
            into[1].extend(columns)
    factors = (
        _stack(ints[0], len(q), torch.int64, q.device), _stack(ints[1], len(k), torch.int64, q.device),
        _stack(floats[0], len(q), torch.float32, q.device), _stack(floats[1], len(k), torch.float32, q.device),
    )  # fmt: skip
    return tuple(listed), factors


def _stack(vectors: list[Tensor], size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Vectors one after the other; a single zero, never read, where there is none."""
    return torch.stack(vectors) if vectors else torch.zeros(1, dtype=dtype, device=device)


def _describe(tile: Any, term: PairTerm) -> tuple[Any, float, list[Tensor], list[Tensor]]:
    """Kind, value, and the factors of rows and of columns as vectors of int64 or float32."""
    rows, columns = ([factor.detach() for factor in side] for side in (term.row_factors, term.column_factors))
    if isinstance(term, terms.CodeDisagreement):
        return tile.DISAGREEMENT, 0.0, list(rows[0].long().unbind(1)), list(columns[0].long().unbind(1))
    if isinstance(term, terms.LabelDistance):
        return _describe_distance(tile, term, rows[0], columns[0])
    if isinstance(term, terms.ColumnLogWeight | terms.ScoreFloor | terms.ScoreCeil):
        kinds = {"ColumnLogWeight": tile.COLUMN, "ScoreFloor": tile.FLOOR, "ScoreCeil": tile.CEIL}
        return kinds[type(term).__name__], 0.0, *([LOG2E * f.float() for f in side] for side in (rows, columns))
    if isinstance(term, terms.OnlyPositives):
        kind = tile.EQUAL
    else:
        kind = tile.DIFFERENT_FILLED if getattr(term, "has_empty", False) else tile.DIFFERENT
    return kind, 0.0, [rows[0].long()], [columns[0].long()]


def _describe_distance(
    tile: Any, term: terms.LabelDistance, rows: Tensor, columns: Tensor
) -> tuple[Any, float, list[Tensor], list[Tensor]]:
    if rows.ndim == 1:
        rows, columns = rows[:, None], columns[:, None]
    origin = columns[:1]  # large integers (dates) would lose digits in float32
    kind, value, unit = tile.LOG_DISTANCE, 0.0, 1.0
    if isinstance(term.function, GaussianKernel):
        kind, unit = tile.GAUSSIAN, math.sqrt(LOG2E / 2) / term.function.bandwidth
    elif isinstance(term.function, MinimalGap):
        kind = tile.GAP_OR_SAME if term.function.keep_same else tile.GAP
        value = float(term.function.gap)
    sides = [[unit * y for y in (side - origin).float().unbind(1)] for side in (rows, columns)]
    return kind, value, sides[0], sides[1]
