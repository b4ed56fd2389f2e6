"""Log-sum-exp of all pairs tile by tile: linear memory, exact gradients by recomputing each tile."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.products import products
from medgraph.losses.pairs.term import Block, PairTerm, add_terms

TILE = 512  # rows and columns; fits the cache of one core (our measurement)
BUDGET = {"cpu": 8 * 2**20, "cuda": 128 * 2**20}  # bytes alive per tile
SPREAD = 60.0  # exp(-60) is far above the smallest float32, so one shift serves a range this wide


@dataclass(frozen=True)
class Plan:
    """What does not carry a gradient: terms, heads, which sums, how the matrix is cut."""

    terms: tuple[PairTerm, ...]
    heads: tuple[tuple[float, tuple[PairTerm, ...]], ...]
    columns: bool
    triangular: bool  # the matrix is symmetric: visit tiles on and above the diagonal only
    tile: int
    tuned: bool = False  # the fused kernels may choose their tile by timing

    @property
    def all_terms(self) -> tuple[PairTerm, ...]:
        """Terms of all heads, then those of each head."""
        return (*self.terms, *(term for _, extra in self.heads for term in extra))

    def blocks(self, num_rows: int, num_columns: int) -> Iterator[Block]:
        """The tiles in order."""
        for i in range(0, num_rows, self.tile):
            for j in range(i if self.triangular else 0, num_columns, self.tile):
                yield Block(i, min(i + self.tile, num_rows), j, min(j + self.tile, num_columns))


def tile_size(device: torch.device, num_heads: int, terms: Sequence[PairTerm]) -> int:
    """Side of a square tile whose numbers fit the byte budget of the device."""
    width = num_heads + 1 + max((term.values_per_pair for term in terms), default=1)
    side = int(math.sqrt(BUDGET.get(device.type, BUDGET["cuda"]) / (4 * width)))
    return min(side, TILE) if device.type == "cpu" else side


def tiled_lse(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor,
    row_bias: Tensor | None,
    column_bias: Tensor | None,
    plan: Plan,
    known: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Row statistics (heads, n), and column statistics (heads, m) if asked for. Memory O(n + m) and one tile.

    Statistics that are `known` are not computed again; the result carries their gradients.
    """
    factors = [factor for term in plan.all_terms for factor in term.factors]
    result = _TiledLSE.apply(plan, known, queries, keys, scale, row_bias, column_bias, *factors)
    return (result[0], result[1]) if plan.columns else (result[0], None)


class _TiledLSE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, known: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any, *factors) -> Any:
        if known is None:
            over_rows, over_columns = _reduce_tiles(plan, q, k, scale, a, b)
        else:
            over_rows, over_columns = known[0].detach(), known[1].detach() if plan.columns else None
        ctx.plan = plan
        ctx.save_for_backward(q, k, scale, a, b, over_rows, over_columns, *factors)
        return (over_rows, over_columns) if plan.columns else (over_rows,)

    @staticmethod
    @first_order
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        q, k, scale, a, b, over_rows, over_columns, *factors = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            pull = Pull(ctx.plan, q, k, scale, a, b, factors, ctx.needs_input_grad[1:])
            pull.run(over_rows, upstream[0], over_columns, upstream[1] if ctx.plan.columns else None)
            return (None, None, *pull.gradients())


def _reduce_tiles(
    plan: Plan, q: Tensor, k: Tensor, scale: Tensor, a: Tensor | None, b: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    num_heads = len(plan.heads)
    rows = Sums.empty(num_heads, len(q), q)
    columns = rows if plan.triangular else Sums.empty(num_heads, len(k), q) if plan.columns else None
    for block in plan.blocks(len(q), len(k)):
        x = tile_scores(q, k, scale, a, b, block)
        diagonal = plan.triangular and block.row_start == block.column_start
        for h in range(num_heads):
            z = _logits(plan, h, x, block)
            into = None if columns is None or diagonal else columns.part(h, block.columns)
            _accumulate(z, rows.part(h, block.rows), into)
    over_rows = rows.finish()
    if not plan.columns:
        return over_rows, None
    return over_rows, over_rows.clone() if columns is None or plan.triangular else columns.finish()


@dataclass
class Sums:
    """A running log-sum-exp: the shift so far, and the sum of exponentials relative to it. Starts at log 0."""

    shift: Tensor
    total: Tensor

    @classmethod
    def empty(cls, num_heads: int, size: int, like: Tensor) -> "Sums":
        """Nothing summed yet."""
        return cls(like.new_full((num_heads, size), -torch.inf), like.new_zeros((num_heads, size)))

    def part(self, head: int, where: slice) -> "Sums":
        """A view of some rows of one head."""
        return Sums(self.shift[head, where], self.total[head, where])

    def add(self, shift: Tensor, total: Tensor) -> None:
        """Add total * exp(shift)."""
        new = torch.maximum(self.shift, shift)
        safe = new.masked_fill(new == -torch.inf, 0)
        self.total.mul_((self.shift - safe).exp_()).add_(total * (shift - safe).exp_())
        self.shift.copy_(new)

    def finish(self) -> Tensor:
        """The log-sum-exp; -inf where nothing was summed."""
        return self.shift + self.total.log()


class Pull:
    """The gradient of all inputs, tile by tile."""

    def __init__(self, plan: Plan, q, k, scale, a, b, factors: list[Tensor], needs: Sequence[bool]):
        self.plan, self.q, self.k, self.scale, self.a, self.b, self.factors = plan, q, k, scale, a, b, factors
        self.needs = needs
        self.dq = torch.zeros_like(q) if needs[1] or needs[2] or needs[3] else None
        self.dk = torch.zeros_like(k) if needs[2] and not plan.triangular else None
        self.da = torch.zeros_like(a) if a is not None and (needs[4] or needs[5]) else None
        self.db = torch.zeros_like(b) if b is not None and needs[5] and not plan.triangular else None
        accumulate = torch.promote_types(q.dtype, torch.float32)
        self.dfactors = [
            torch.zeros_like(f, dtype=accumulate) if need else None for f, need in zip(factors, needs[6:], strict=True)
        ]

    def run(self, over_rows: Tensor, g_rows: Tensor, over_columns: Tensor | None, g_columns: Tensor | None) -> None:
        """Visit all tiles. In a symmetric matrix both statistics are the same, and so are their gradients."""
        if self.plan.triangular:
            g_rows = g_rows if g_columns is None else g_rows + g_columns
            over_columns, g_columns = over_rows, g_rows
        weights = [
            Weights.of(over_rows[h], g_rows[h], None if over_columns is None else over_columns[h],
                       None if g_columns is None else g_columns[h])
            for h in range(len(self.plan.heads))
        ]  # fmt: skip
        for block in self.plan.blocks(len(self.q), len(self.k)):
            x = tile_scores(self.q, self.k, self.scale, self.a, self.b, block)
            tiles = [w.tile(_logits(self.plan, h, x, block), block) for h, w in enumerate(weights)]
            self.pull_terms(tiles, x, block)
            self.pull_inputs(tiles, block)

    def pull_inputs(self, tiles: list[Tensor], block: Block) -> None:
        """Add one tile of each head, the gradient of its logits, to the embeddings, the scale and the biases."""
        gradient: Tensor | None = None
        for (alpha, _), tile in zip(self.plan.heads, tiles, strict=True):
            tile = tile if alpha == 1 else alpha * tile
            gradient = tile if gradient is None else gradient.add_(tile)
        assert gradient is not None
        rows, columns = block.rows, block.columns
        mirrored = self.plan.triangular and block.row_start != block.column_start
        if self.dq is not None:
            self.dq[rows].addmm_(gradient, self.k[columns])
            if mirrored:
                self.dq[columns].addmm_(gradient.T, self.q[rows])
        if self.dk is not None:
            scaled = self.q[rows] * (self.scale if self.scale.ndim == 0 else self.scale[rows, None])
            self.dk[columns].addmm_(gradient.T, scaled)
        if self.da is not None:
            self.da[rows] += gradient.sum(1)
            if mirrored:
                self.da[columns] += gradient.sum(0)
        if self.db is not None:
            self.db[columns] += gradient.sum(0)

    def pull_terms(self, tiles: list[Tensor], scores: Tensor, block: Block) -> None:
        """Add one tile of each head, the gradient of its log-weights, to the factors of learnable terms."""
        if all(d is None for d in self.dfactors):
            return
        shared = tiles[0] if len(tiles) == 1 else torch.stack(tiles).sum(0)
        first = 0
        for term, upstream in (
            *((term, shared) for term in self.plan.terms),
            *((term, tile) for (_, extra), tile in zip(self.plan.heads, tiles, strict=True) for term in extra),
        ):
            last = first + len(term.factors)
            if any(d is not None for d in self.dfactors[first:last]):
                self._pull_term(term, first, upstream, scores, block)
            first = last

    def _pull_term(self, term: PairTerm, first: int, upstream: Tensor, scores: Tensor, block: Block) -> None:
        num_rows, num_columns = len(term.row_factors), len(term.column_factors)
        where = [block.rows] * num_rows + [block.columns] * num_columns + [slice(None)] * len(term.shared_factors)
        targets = self.dfactors[first : first + len(where)]
        leaves = []
        for factor, piece, target in zip(self.factors[first:], where, targets, strict=False):
            leaf = factor.detach() if piece == slice(None) else factor.detach()[piece]
            leaves.append(leaf.requires_grad_(target is not None))
        with torch.enable_grad():
            split = num_rows + num_columns
            tile = term.compute(
                tuple(leaves[:num_rows]), tuple(leaves[num_rows:split]), tuple(leaves[split:]), block, scores
            )
        if tile is None or not tile.requires_grad:
            return
        wanted = [i for i, target in enumerate(targets) if target is not None]
        found = torch.autograd.grad(tile, [leaves[i] for i in wanted], upstream.to(tile.dtype), allow_unused=True)
        for i, gradient in zip(wanted, found, strict=True):
            target = targets[i]
            if gradient is not None and target is not None:
                (target if where[i] == slice(None) else target[where[i]]).add_(gradient)

    def gradients(self) -> tuple[Tensor | None, ...]:
        """Of q, k, scale, row bias, column bias and all factors, in the order of the inputs."""
        dscale = None
        if self.dq is not None:
            if self.needs[3]:
                along = (self.q * self.dq).sum(1)  # (n,)
                half = 0.5 if self.plan.triangular else 1.0  # each pair was counted from both sides
                dscale = along if self.scale.ndim else half * along.sum()
            self.dq *= self.scale if self.scale.ndim == 0 else self.scale[:, None]
        dfactors = (None if d is None else d.to(f.dtype) for d, f in zip(self.dfactors, self.factors, strict=True))
        return (self.dq, self.dk, dscale, self.da, self.db, *dfactors)


@dataclass
class Weights:
    """How one head's upstream gradient becomes that of its logits: g_i exp(z_ij - L_i) + g'_j exp(z_ij - C_j)."""

    rows: Tensor  # g_i, or with a shift g_i exp(shift - L_i)
    columns: Tensor | None
    over_rows: Tensor  # L_i, +inf where the row is empty
    over_columns: Tensor | None
    shift: Tensor | None  # one shift for both directions: then one exponential serves both

    @classmethod
    def of(cls, over_rows: Tensor, rows: Tensor, over_columns: Tensor | None, columns: Tensor | None) -> "Weights":
        """From statistics and upstream gradients; empty rows and columns get weight 0."""
        rows, over_rows = _without_empty(rows, over_rows)
        if over_columns is None or columns is None:
            return cls(rows, None, over_rows, None, None)
        columns, over_columns = _without_empty(columns, over_columns)
        both = torch.cat([over_rows, over_columns])
        both = both[both.isfinite()]
        if both.numel() == 0 or both.max() - both.min() > SPREAD:
            return cls(rows, columns, over_rows, over_columns, None)
        shift = both.max()
        return cls(
            rows * (shift - over_rows).exp(), columns * (shift - over_columns).exp(), over_rows, over_columns, shift
        )

    def tile(self, logits: Tensor, block: Block) -> Tensor:
        """The gradient of the logits of one tile; overwrites the logits."""
        rows = self.rows[block.rows, None]
        if self.columns is None or self.over_columns is None:
            return logits.sub_(self.over_rows[block.rows, None]).exp_().mul_(rows)
        columns = self.columns[block.columns]
        if self.shift is not None:
            return logits.sub_(self.shift).exp_().mul_(rows + columns)
        by_row = (logits - self.over_rows[block.rows, None]).exp_().mul_(rows)
        return by_row.add_(logits.sub_(self.over_columns[block.columns]).exp_().mul_(columns))


def _without_empty(gradient: Tensor, statistic: Tensor) -> tuple[Tensor, Tensor]:
    empty = statistic == -torch.inf
    return gradient.masked_fill(empty, 0), statistic.masked_fill(empty, torch.inf)


def tile_scores(q: Tensor, k: Tensor, scale: Tensor, a: Tensor | None, b: Tensor | None, block: Block) -> Tensor:
    """x_ij = scale_i <q_i, k_j> + a_i + b_j for one tile."""
    scaled = q[block.rows] * (scale if scale.ndim == 0 else scale[block.rows, None])
    x = products(scaled, k[block.columns])
    if a is not None:
        x += a[block.rows, None]
    if b is not None:
        x += b[block.columns]
    return x


def _logits(plan: Plan, head: int, scores: Tensor, block: Block) -> Tensor:
    """A new tensor, so that the caller may overwrite it; the scores themselves when no one needs them any more."""
    alpha, extra = plan.heads[head]
    terms = (*plan.terms, *extra)
    alone = len(plan.heads) == 1 and not any(term.learnable for term in terms)
    logits = scores if alone and alpha == 1 else alpha * scores
    return add_terms(logits, terms, block, scores)


def _accumulate(z: Tensor, rows: Sums, columns: Sums | None) -> None:
    """Add a tile to its row sums and column sums; one exponential for both if the tile's range allows. Overwrites z."""
    top = z.amax(1)
    if columns is None:
        rows.add(top, z.sub_(_finite(top)[:, None]).exp_().sum(1))
        return
    column_top = z.amax(0)
    tops = torch.cat([top, column_top])
    tops = tops[tops != -torch.inf]
    if tops.numel() == 0:
        return
    highest = tops.max()
    if highest - tops.min() <= SPREAD:
        z.sub_(highest).exp_()
        rows.add(highest.where(top != -torch.inf, top), z.sum(1))
        columns.add(highest.where(column_top != -torch.inf, column_top), z.sum(0))
    else:
        rows.add(top, (z - _finite(top)[:, None]).exp_().sum(1))
        columns.add(column_top, z.sub_(_finite(column_top)).exp_().sum(0))


def _finite(top: Tensor) -> Tensor:
    return top.masked_fill(top == -torch.inf, 0)
