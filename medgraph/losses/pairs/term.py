"""`PairTerm`: what every mask and log-weight of the virtual score matrix has; terms compose by addition.

A term answers `tile(block, scores)` with a Boolean tile (True keeps the pair), a log-weight tile (-inf removes the
pair), or None where it changes nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Rows [row_start, row_stop) and columns [column_start, column_stop) of the score matrix."""

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.row_start, self.row_stop)

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.column_start, self.column_stop)


Factors = tuple[Tensor, ...]


class PairTerm(ABC):
    """What every term has: its factors by axis, and a rule that turns their slices into a tile.

    A new term sets `row_factors` (n, ...), `column_factors` (m, ...), `shared_factors` and writes `compute`.
    It is learnable if any factor requires a gradient. Under `torch.compile` a term is rebuilt from its factors and
    `settings` alone.
    """

    row_factors: Factors = ()
    column_factors: Factors = ()
    shared_factors: Factors = ()
    mirrors: bool = False  # equal factors of rows and columns make a symmetric matrix
    settings: tuple[str, ...] = ()  # names of what else `compute` reads: numbers, words, or objects with settings
    values_per_pair: int = 1  # numbers alive per pair inside `compute`; smaller default tiles when large

    @abstractmethod
    def compute(
        self, rows: Factors, columns: Factors, shared: Factors, block: Block, scores: Tensor | None
    ) -> Tensor | None:
        """The tile, from the slices of the factors; `scores` are those of the tile before any term, no gradient."""

    @property
    def factors(self) -> Factors:
        """All factors: of rows, of columns, shared."""
        return (*self.row_factors, *self.column_factors, *self.shared_factors)

    @property
    def learnable(self) -> bool:
        """Whether any factor requires a gradient."""
        return any(factor.requires_grad for factor in self.factors)

    @property
    def symmetric(self) -> bool:
        """Whether tile (i, j) equals tile (j, i) transposed."""
        return self.mirrors and all(map(same, self.row_factors, self.column_factors))

    def slices(self, block: Block) -> tuple[Factors, Factors, Factors]:
        """The factors that one tile needs."""
        rows = tuple(factor[block.rows] for factor in self.row_factors)
        columns = tuple(factor[block.columns] for factor in self.column_factors)
        return rows, columns, self.shared_factors

    def tile(self, block: Block, scores: Tensor | None = None) -> Tensor | None:
        """The mask or log-weights of one tile; None where the term changes nothing."""
        return self.compute(*self.slices(block), block, scores)

    def check(self, num_rows: int, num_columns: int) -> None:
        """Raise ValueError unless the factors fit a matrix of this size."""
        for axis, factors, size in (
            ("queries", self.row_factors, num_rows),
            ("keys", self.column_factors, num_columns),
        ):
            for factor in factors:
                if len(factor) != size:
                    raise ValueError(
                        f"{type(self).__name__}: holds {len(factor)} entries for {size} {axis}; give one entry for each"
                    )


def add_terms(logits: Tensor, terms: Sequence[PairTerm], block: Block, scores: Tensor | None) -> Tensor:
    """The logits of one tile with all terms added; the input is left alone."""
    for term in terms:
        tile = term.tile(block, scores)
        if tile is not None:
            logits = add_tile(logits, tile)
    return logits


def add_tile(logits: Tensor, tile: Tensor) -> Tensor:
    """The logits with one mask (True keeps) or log-weight tile added."""
    if tile.dtype == torch.bool:
        return logits.masked_fill(~tile, -torch.inf)
    return logits + tile.to(logits.dtype)


def same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are one, or equal."""
    return first is second or (first.shape == second.shape and torch.equal(first, second))
