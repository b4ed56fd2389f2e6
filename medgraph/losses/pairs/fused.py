"""Log-sum-exp of all pairs by fused Triton kernels: linear memory, exact gradients, every tile in registers.

One pass forward for rows and columns together; backward one kernel by rows for the queries and one by columns for the
keys (self-contrast of a symmetric matrix needs the first alone). No atomic additions: with one tile runs repeat to the
last bit.

Inputs stay in their dtype (float32, bfloat16, float16), sums are float32. Products of float32 follow
`torch.set_float32_matmul_precision`: "highest" is exact, "high" is tf32 three times, "medium" tf32 once.
Embeddings up to 256 wide stay in registers; wider ones are read in chunks of 128, and each chunk of a gradient
computes the scores anew. Tiles of embeddings up to 256 wide fit 100 KiB of shared memory (counted by the compiler for
compute capabilities 8.0 and 9.0). With `deterministic=False` tiles are chosen by timing, see `tuning`. So far the
kernels have run in the interpreter only.

Triton is optional and imported at the first call. With TRITON_INTERPRET=1, set before that, kernels run on any device.
"""

import contextlib
import functools
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs import terms as pair_terms
from medgraph.losses.pairs import tuning
from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.fused_terms import LOG2E, is_known, pack
from medgraph.losses.pairs.term import PairTerm
from medgraph.losses.pairs.tiled import Plan

MAX_WIDTH = 256  # of embeddings that stay in registers
CHUNK = 128  # of wider ones
PRECISIONS = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}
WIDE = 512  # bytes of an embedding in registers; beyond, and for chunks, tiles are smaller
TILES = {  # by whether they are smaller
    False: {"ROWS": 64, "COLUMNS": 64, "num_stages": 2},
    True: {"ROWS": 32, "COLUMNS": 32, "num_stages": 1},
}
SMALLER = {  # none needs more registers or shared memory than the one above
    False: (
        {"ROWS": 64, "COLUMNS": 32, "num_stages": 2}, {"ROWS": 32, "COLUMNS": 64, "num_stages": 2},
        {"ROWS": 64, "COLUMNS": 64, "num_stages": 2, "num_warps": 8},
    ),
    True: ({"ROWS": 32, "COLUMNS": 16, "num_stages": 1}, {"ROWS": 16, "COLUMNS": 32, "num_stages": 1}),
}  # fmt: skip
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INTERPRETED_PROGRAMS = 3  # shares of the column sums where there is no device to ask


def is_installed() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def why_not(dtype: torch.dtype, terms: tuple[PairTerm, ...]) -> str | None:
    """What the kernels do not know, in words; None if they know everything."""
    if dtype not in DTYPES:
        return f"{dtype} embeddings"
    unknown = sorted({type(term).__name__ for term in terms if not is_known(term)})
    return f"the pair terms {', '.join(unknown)} as used here" if unknown else None


@functools.cache
def warn_once(reason: str) -> None:
    """Say once per reason that tiles do the work instead."""
    warnings.warn(f"the fused kernel does not know {reason}; working on tiles instead", stacklevel=4)


def fused_lse(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor,
    row_bias: Tensor | None,
    column_bias: Tensor | None,
    plan: Plan,
    known: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Row statistics (heads, n), and column statistics (heads, m) if asked for. Memory O(n + m).

    Args:
        queries: (n, d), n at least 1.
        keys: (m, d) of the same dtype, m at least 1; the same object as the queries for self-contrast.
        scale: A scalar or one per query (n,).
        row_bias: (n,) or None.
        column_bias: (m,) or None.
        plan: Terms, heads and sums; `why_not` must know its terms.
        known: The statistics, if computed before; the result carries their gradients.

    Raises:
        ModuleNotFoundError: Triton is not installed.
        ValueError: The tensors are on the CPU and the kernels are not interpreted.
    """
    kernels = kernels_for(queries.device)
    factors = [factor for term in plan.all_terms for factor in term.factors]
    result = _FusedLSE.apply(plan, known, kernels, queries, keys, scale, row_bias, column_bias, *factors)
    return (result[0], result[1]) if plan.columns else (result[0], None)


def kernels_for(device: torch.device) -> ModuleType:
    """The kernels. Raises what `fused_lse` says."""
    kernels = _kernels()
    if device.type == "cpu" and not _is_interpreted(kernels):
        raise ValueError(
            'backend="triton" needs tensors on a GPU; use "auto" or "tiled" on the CPU, '
            "or set TRITON_INTERPRET=1 to debug kernels there"
        )
    return kernels


def is_fused(backend: str, device: torch.device, dtype: torch.dtype, terms: tuple[PairTerm, ...]) -> bool:
    """Whether the fused kernels do the work; says once why they cannot."""
    if backend != "triton" and not (backend == "auto" and device.type == "cuda" and is_installed()):
        return False
    reason = why_not(dtype, terms)
    if reason is not None:
        warn_once(reason)
    return reason is None


class _FusedLSE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, known: Any, kernels: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any, *factors
    ):
        same = k is q
        q = q.contiguous()
        k = q if same else k.contiguous()
        launch = Launch.of(kernels, plan, q, k, scale, a, b)
        if known is not None:
            over_rows, over_columns = known[0].detach(), known[1].detach() if plan.columns else None
        else:
            over_rows, over_columns = launch.forward(plan.columns and not plan.triangular)
            if plan.columns and plan.triangular:
                over_columns = over_rows.clone()
        ctx.plan, ctx.launch, ctx.scale_shape = plan, launch, scale.shape
        ctx.save_for_backward(scale, over_rows, over_columns, *factors)
        return (over_rows, over_columns) if plan.columns else (over_rows,)

    @staticmethod
    @first_order
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        scale, over_rows, over_columns, *factors = ctx.saved_tensors
        plan, launch, needs = ctx.plan, ctx.launch, ctx.needs_input_grad[3:]
        g_rows, g_columns = upstream[0], upstream[1] if plan.columns else None
        if plan.triangular:  # both statistics are the same, and so are their gradients
            g_rows = g_rows if g_columns is None else g_rows + g_columns
            over_columns, g_columns = over_rows, g_rows
        statistics = _statistics(over_rows, g_rows, over_columns, g_columns)
        dq = dk = dscale = da = db = None
        if needs[0] or needs[2] or needs[3]:
            dq, da = launch.backward_rows(statistics, plan.columns or plan.triangular)
            if needs[2]:
                along = (launch.q.float() * dq).sum(1)  # (n,)
                half = 0.5 if plan.triangular else 1.0  # each pair was counted from both sides
                dscale = along if scale.ndim else half * along.sum()
            dq *= scale if scale.ndim == 0 else scale[:, None]
        dfactors: list[Tensor | None] = [None] * len(factors)
        if not plan.triangular and (needs[1] or needs[4] or any(needs[5:])):
            dk, dw = launch.backward_columns(statistics, plan.columns)
            db = sum(alpha * dw[h] for h, (alpha, _) in enumerate(plan.heads)) if needs[4] else None
            dfactors = [
                g.to(f.dtype) if need and g is not None else None
                for g, f, need in zip(of_columns(plan, dw), factors, needs[5:], strict=True)
            ]
            dk = dk.to(launch.k.dtype)
        dq = None if dq is None else dq.to(launch.q.dtype)
        return (None, None, None, dq, dk, dscale, da if needs[3] else None, db, *dfactors)


@dataclass(frozen=True)
class Launch:
    """Arguments that all kernels share, and how to start each of them."""

    kernels: Any
    q: Tensor
    k: Tensor
    tensors: tuple[Tensor, ...]  # embeddings, scale and biases in base 2, factors of the terms
    options: dict[str, Any]  # compile-time constants
    gradients: dict[str, Any]  # further ones, of the kernels backward
    others: tuple[dict[str, int], ...] = ()  # tiles to try besides that of the options

    @classmethod
    def of(
        cls, kernels: Any, plan: Plan, q: Tensor, k: Tensor, scale: Tensor, a: Tensor | None, b: Tensor | None
    ) -> "Launch":
        """Pack the inputs of a call."""
        vectors = (
            (LOG2E * scale.float()).expand(len(q)).contiguous(),
            q.new_zeros(len(q), dtype=torch.float32) if a is None else LOG2E * a.float(),
            k.new_zeros(len(k), dtype=torch.float32) if b is None else LOG2E * b.float(),
        )
        listed, factors = pack(plan, q, k)
        width = max(16, 1 << (q.shape[1] - 1).bit_length()) if q.shape[1] <= MAX_WIDTH else CHUNK
        small = width < q.shape[1] or width * q.element_size() > WIDE
        scores, gradients = _types(kernels, q.dtype)
        gradients["PHI"] = kernels.fused_tile.LSE
        options = {
            "DIM": q.shape[1], "BLOCK_DIM": width, "CHUNKS": -(-q.shape[1] // width), "HEADS": len(plan.heads),
            "ALPHAS": tuple(alpha for alpha, _ in plan.heads), "TERMS": listed,
            **scores, **TILES[small],
        }  # fmt: skip
        tensors = (q, k, *(vector.contiguous() for vector in vectors), *factors)
        return cls(kernels, q, k, tensors, options, gradients, SMALLER[small] if plan.tuned else ())

    def forward(self, with_columns: bool) -> tuple[Tensor, Tensor | None]:
        """Row sums (heads, n), and column sums (heads, m) if asked for."""
        return self._fastest("_forward", with_columns)._forward(with_columns)

    def _forward(self, with_columns: bool) -> tuple[Tensor, Tensor | None]:
        num_heads, blocks = self.options["HEADS"], _ceil(len(self.q), self.options["ROWS"])
        programs = min(blocks, _num_programs(self.q.device)) if with_columns else blocks
        share = _ceil(blocks, programs)
        programs = _ceil(blocks, share)
        over_rows = self._empty(num_heads, len(self.q))
        size = (programs, num_heads, len(self.k)) if with_columns else (1,)
        tops, totals = self._empty(*size).fill_(-torch.inf), self._empty(*size).zero_()
        with _on(self.q.device):
            self.kernels.forward[(programs,)](
                *self.tensors, over_rows, tops, totals, len(self.q), len(self.k), share,
                PADDED_HEADS=_padded(num_heads), WITH_COLUMNS=with_columns, **self.options,
            )  # fmt: skip
            if not with_columns:
                return over_rows, None
            over_columns = self._empty(num_heads, len(self.k))
            grid = (_ceil(over_columns.numel(), 128),)
            self.kernels.merge_columns[grid](tops, totals, over_columns, programs, over_columns.numel(), COLUMNS=128)
        return over_rows, over_columns

    def sum_rows(self) -> Tensor:
        """Sums (n,) of the function PHI."""
        return self._fastest("_sum_rows")._sum_rows()

    def _sum_rows(self) -> Tensor:
        sums = self._empty(len(self.q))
        with _on(self.q.device):
            self.kernels.sum_rows[(_ceil(len(self.q), self.options["ROWS"]),)](
                *self.tensors, sums, len(self.q), len(self.k), PHI=self.gradients["PHI"], **self.options
            )
        return sums

    def backward_rows(self, statistics: tuple[Tensor, ...], with_columns: bool) -> tuple[Tensor, Tensor]:
        """sum_j G_ij k_j (n, d) and sum_j G_ij (n,)."""
        return self._fastest("_backward_rows", statistics, with_columns)._backward_rows(statistics, with_columns)

    def _backward_rows(self, statistics: tuple[Tensor, ...], with_columns: bool) -> tuple[Tensor, Tensor]:
        dq, da = self._empty(*self.q.shape), self._empty(len(self.q))
        with _on(self.q.device):
            self.kernels.backward_rows[(_ceil(len(self.q), self.options["ROWS"]), self.options["CHUNKS"])](
                *self.tensors, *statistics, dq, da, len(self.q), len(self.k),
                WITH_COLUMNS=with_columns, **self.gradients, **self.options,
            )  # fmt: skip
        return dq, da

    def backward_columns(self, statistics: tuple[Tensor, ...], with_columns: bool) -> tuple[Tensor, Tensor]:
        """sum_i scale_i G_ij q_i (m, d), and the sums over rows of each head's gradient (heads, m)."""
        return self._fastest("_backward_columns", statistics, with_columns)._backward_columns(statistics, with_columns)

    def _backward_columns(self, statistics: tuple[Tensor, ...], with_columns: bool) -> tuple[Tensor, Tensor]:
        num_heads = self.options["HEADS"]
        dk, dw = self._empty(*self.k.shape), self._empty(num_heads, len(self.k))
        with _on(self.q.device):
            self.kernels.backward_columns[(_ceil(len(self.k), self.options["COLUMNS"]), self.options["CHUNKS"])](
                *self.tensors, *statistics, dk, dw, len(self.q), len(self.k),
                PADDED_HEADS=_padded(num_heads), WITH_COLUMNS=with_columns, **self.gradients, **self.options,
            )  # fmt: skip
        return dk, dw

    def _fastest(self, kernel: str, *arguments: Any) -> "Launch":
        """With the tile that was fastest in this bucket of shapes; tried at its first call. See `tuning`."""
        if not self.others:
            return self
        tiles = [self, *(replace(self, options={**self.options, **tile}) for tile in self.others)]
        tries = [functools.partial(getattr(launch, kernel), *arguments) for launch in tiles]
        listed = *(self.options[name] for name in ("DIM", "ALPHAS", "TERMS")), *arguments[-1:]
        key = kernel, self.q.device, self.q.dtype, *listed, tuning.bucket(len(self.q)), tuning.bucket(len(self.k))
        return tiles[tuning.fastest(key, tries)]

    def _empty(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=torch.float32, device=self.q.device)


def _types(kernels: Any, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, Any]]:
    """Types and precision of the product that gives scores, and of the one that gives gradients (of a log-sum-exp).

    A gradient of 1 / n would vanish in float16, but not in tf32.
    """
    tl = kernels.tl
    exact = PRECISIONS[torch.get_float32_matmul_precision()]
    if dtype == torch.bfloat16:
        kind = tl.float32 if _is_interpreted(kernels) else tl.bfloat16
        scores = {"TYPE": kind, "PRECISION": "ieee"}
        return scores, {
            "ROUNDED": tl.bfloat16,
            "GRADIENT_TYPE": kind,
            "GRADIENT_PRECISION": "ieee",
            "PHI": kernels.fused_tile.LSE,
        }
    if dtype == torch.float16:
        scores, exact = {"TYPE": tl.float16, "PRECISION": "ieee"}, "tf32"
    else:
        scores = {"TYPE": tl.float32, "PRECISION": exact}
    return scores, {
        "ROUNDED": tl.float32,
        "GRADIENT_TYPE": tl.float32,
        "GRADIENT_PRECISION": exact,
        "PHI": kernels.fused_tile.LSE,
    }


def _statistics(
    over_rows: Tensor, g_rows: Tensor, over_columns: Tensor | None, g_columns: Tensor | None
) -> tuple[Tensor, ...]:
    """Sums in base 2, +inf where empty, and their gradients, 0 where empty. Without columns, the rows stand in."""
    found: list[Tensor] = []
    for total, gradient in ((over_rows, g_rows), (over_columns, g_columns)):
        if total is None or gradient is None:
            return (*found, *found)
        empty = total == -torch.inf
        found += [(LOG2E * total).masked_fill(empty, torch.inf), gradient.float().masked_fill(empty, 0).contiguous()]
    return tuple(found)


def of_columns(plan: Plan, dw: Tensor) -> list[Tensor | None]:
    """The gradient of every factor of every term; only log-weights of columns have one."""
    found: list[Tensor | None] = []
    groups = [(plan.terms, dw.sum(0)), *((extra, dw[h]) for h, (_, extra) in enumerate(plan.heads))]
    for terms, gradient in groups:
        for term in terms:
            learned = isinstance(term, pair_terms.ColumnLogWeight)
            found += [gradient if learned else None for _ in term.factors]
    return found


@functools.cache
def _kernels() -> ModuleType:
    if not is_installed():
        raise ModuleNotFoundError(
            'backend="triton" needs Triton, which is not installed: pip install triton; '
            'backend="tiled" computes the same without it'
        )
    from medgraph.losses.pairs import fused_kernels

    return fused_kernels


def _is_interpreted(kernels: ModuleType) -> bool:
    return not isinstance(kernels.forward, kernels.triton.JITFunction)


def _on(device: torch.device) -> Any:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _num_programs(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return INTERPRETED_PROGRAMS


def _padded(num_heads: int) -> int:
    return 1 << (num_heads - 1).bit_length()


def _ceil(number: int, size: int) -> int:
    return -(-number // size)
