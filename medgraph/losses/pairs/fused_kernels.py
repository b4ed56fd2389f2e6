"""Triton kernels of the fused backend; `fused` prepares their arguments.

Numbers of rows and columns are arguments of a run, not of the compilation: a last batch of another size compiles
nothing. A kernel stores each result once; no two programs write to the same place. `fused_tile` says what is done with
a tile, in base 2.
"""

from typing import no_type_check  # kernels are no Python functions: run-time type checks would break them

import triton
import triton.language as tl

from medgraph.losses.pairs import fused_tile  # noqa: F401 (its constants name terms and functions)
from medgraph.losses.pairs.fused_tile import (
    LN2,
    add_to_columns,
    gradient_of_head,
    load_rows,
    logits,
    product,
    scores,
    store_lse,
    summands,
    without_infinity,
)  # fmt: skip


@triton.jit(do_not_specialize=["num_rows", "num_columns", "blocks_per_program"])
@no_type_check
def forward(
    q_pointer, k_pointer, scale_pointer, a_pointer, b_pointer, row_ints, column_ints, row_floats, column_floats,
    over_rows, column_tops, column_totals, num_rows, num_columns, blocks_per_program,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, PADDED_HEADS: tl.constexpr, ALPHAS: tl.constexpr, TERMS: tl.constexpr,
    WITH_COLUMNS: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Row sums of consecutive blocks of rows, and this program's share of the column sums.

    One matrix product serves all heads. `column_tops` and `column_totals` are (programs, heads, columns).
    """
    program = tl.program_id(0).to(tl.int64)
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    heads = tl.arange(0, PADDED_HEADS)[None, :]
    own = program * HEADS * num_columns
    last = tl.minimum((program + 1) * blocks_per_program, tl.cdiv(num_rows, ROWS))
    for block in range(program * blocks_per_program, last):
        i = block * ROWS + tl.arange(0, ROWS)
        in_i = i < num_rows
        q = load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
        scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
        a = tl.load(a_pointer + i, mask=in_i, other=0.0)
        tops = tl.full((ROWS, PADDED_HEADS), float("-inf"), tl.float32)
        totals = tl.zeros((ROWS, PADDED_HEADS), tl.float32)
        for start in range(0, num_columns, COLUMNS):
            j = start + tl.arange(0, COLUMNS).to(tl.int64)
            in_j = j < num_columns
            k = load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
            b = tl.load(b_pointer + j, mask=in_j, other=0.0)
            x = scores(
                q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION
            )
            for h in tl.static_range(HEADS):
                z = logits(
                    x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
                    ALPHAS[h], h, TERMS,
                )  # fmt: skip
                this = heads == h
                old = tl.max(tl.where(this, tops, float("-inf")), 1)
                new = tl.maximum(old, tl.max(z, 1))
                safe = without_infinity(new)
                total = tl.sum(tl.where(this, totals, 0.0), 1) * tl.exp2(old - safe)
                total += tl.sum(tl.exp2(z - safe[:, None]), 1)
                tops, totals = tl.where(this, new[:, None], tops), tl.where(this, total[:, None], totals)
                if WITH_COLUMNS:
                    where = own + h * num_columns
                    add_to_columns(z, j, in_j, column_tops + where, column_totals + where)
        if WITH_COLUMNS:
            tl.debug_barrier()  # the next block of rows reads what other threads of this program wrote
        store_lse(over_rows + heads * num_rows + i[:, None], tops, totals, in_i[:, None] & (heads < HEADS))


@triton.jit(do_not_specialize=["num_programs", "num_columns"])
@no_type_check
def merge_columns(column_tops, column_totals, over_columns, num_programs, num_columns, COLUMNS: tl.constexpr):
    """Column sums from the shares of all programs, in their order. `num_columns` counts those of all heads."""
    num_columns = num_columns.to(tl.int64)
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    in_j = j < num_columns
    top = tl.full((COLUMNS,), float("-inf"), tl.float32)
    total = tl.zeros((COLUMNS,), tl.float32)
    for program in range(num_programs):
        share = tl.load(column_tops + program * num_columns + j, mask=in_j, other=float("-inf"))
        new = tl.maximum(top, share)
        safe = without_infinity(new)
        share_total = tl.load(column_totals + program * num_columns + j, mask=in_j, other=0.0)
        total = total * tl.exp2(top - safe) + share_total * tl.exp2(share - safe)
        top = new
    store_lse(over_columns + j, top, total, in_j)


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
@no_type_check
def sum_rows(
    q_pointer, k_pointer, scale_pointer, a_pointer, b_pointer, row_ints, column_ints, row_floats, column_floats,
    sums, num_rows, num_columns,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, ALPHAS: tl.constexpr, TERMS: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    PHI: tl.constexpr,
):  # fmt: skip
    """sum_j weight_ij function(score_ij) of one block of rows."""
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    in_i = i < num_rows
    q = load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
    scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
    a = tl.load(a_pointer + i, mask=in_i, other=0.0)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, num_columns, COLUMNS):
        j = start + tl.arange(0, COLUMNS).to(tl.int64)
        in_j = j < num_columns
        k = load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
        b = tl.load(b_pointer + j, mask=in_j, other=0.0)
        x = scores(q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION)
        total += tl.sum(summands(
            x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, num_rows, num_columns, TERMS, PHI,
            False,
        ), 1)  # fmt: skip
    tl.store(sums + i, total, mask=in_i)


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
@no_type_check
def backward_rows(
    q_pointer, k_pointer, scale_pointer, a_pointer, b_pointer, row_ints, column_ints, row_floats, column_floats,
    over_rows, g_rows, over_columns, g_columns, dq_pointer, da_pointer, num_rows, num_columns,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, ALPHAS: tl.constexpr, TERMS: tl.constexpr, WITH_COLUMNS: tl.constexpr,
    TYPE: tl.constexpr, PRECISION: tl.constexpr,
    ROUNDED: tl.constexpr, GRADIENT_TYPE: tl.constexpr, GRADIENT_PRECISION: tl.constexpr, PHI: tl.constexpr,
):  # fmt: skip
    """sum_j G_ij k_j (not yet times scale) and sum_j G_ij of one block of rows; one chunk of the width."""
    chunk = tl.program_id(1)
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    in_i = i < num_rows
    q = load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
    scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
    a = tl.load(a_pointer + i, mask=in_i, other=0.0)
    dq = tl.zeros((ROWS, BLOCK_DIM), tl.float32)
    da = tl.zeros((ROWS,), tl.float32)
    for start in range(0, num_columns, COLUMNS):
        j = start + tl.arange(0, COLUMNS).to(tl.int64)
        in_j = j < num_columns
        k = load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
        b = tl.load(b_pointer + j, mask=in_j, other=0.0)
        x = scores(q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION)
        gradient = tl.zeros((ROWS, COLUMNS), tl.float32)
        for h in tl.static_range(HEADS):
            if ALPHAS[h] != 0.0:
                gradient += ALPHAS[h] * gradient_of_head(
                    x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows,
                    over_columns, g_columns, num_rows, num_columns, ALPHAS[h], h, TERMS, WITH_COLUMNS, PHI,
                )  # fmt: skip
        if CHUNKS > 1:
            k = load_rows(k_pointer, j, in_j, chunk, DIM, BLOCK_DIM)
        dq += product(gradient.to(ROUNDED), k, GRADIENT_TYPE, GRADIENT_PRECISION)
        da += tl.sum(gradient, 1)
    d = chunk * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    tl.store(dq_pointer + i[:, None] * DIM + d[None, :], dq, mask=in_i[:, None] & (d < DIM)[None, :])
    if chunk == 0:
        tl.store(da_pointer + i, da, mask=in_i)


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
@no_type_check
def backward_columns(
    q_pointer, k_pointer, scale_pointer, a_pointer, b_pointer, row_ints, column_ints, row_floats, column_floats,
    over_rows, g_rows, over_columns, g_columns, dk_pointer, dw_pointer, num_rows, num_columns,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, PADDED_HEADS: tl.constexpr, ALPHAS: tl.constexpr, TERMS: tl.constexpr,
    WITH_COLUMNS: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
    ROUNDED: tl.constexpr, GRADIENT_TYPE: tl.constexpr, GRADIENT_PRECISION: tl.constexpr, PHI: tl.constexpr,
):  # fmt: skip
    """sum_i scale_i G_ij q_i and, per head, the sum over rows of the gradient of the logits; one chunk of the width."""
    chunk = tl.program_id(1)
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    in_j = j < num_columns
    heads = tl.arange(0, PADDED_HEADS)[None, :]
    k = load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
    b = tl.load(b_pointer + j, mask=in_j, other=0.0)
    dk = tl.zeros((COLUMNS, BLOCK_DIM), tl.float32)
    dw = tl.zeros((COLUMNS, PADDED_HEADS), tl.float32)
    for start in range(0, num_rows, ROWS):
        i = start + tl.arange(0, ROWS).to(tl.int64)
        in_i = i < num_rows
        q = load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
        scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
        a = tl.load(a_pointer + i, mask=in_i, other=0.0)
        x = scores(q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION)
        gradient = tl.zeros((ROWS, COLUMNS), tl.float32)
        for h in tl.static_range(HEADS):
            of_head = gradient_of_head(
                x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows, over_columns,
                g_columns, num_rows, num_columns, ALPHAS[h], h, TERMS, WITH_COLUMNS, PHI,
            )  # fmt: skip
            gradient += ALPHAS[h] * of_head
            dw += tl.where(heads == h, tl.sum(of_head, 0)[:, None], 0.0)
        gradient = (gradient * scale[:, None]).to(ROUNDED)
        if CHUNKS > 1:
            q = load_rows(q_pointer, i, in_i, chunk, DIM, BLOCK_DIM)
        dk += product(tl.trans(gradient), q, GRADIENT_TYPE, GRADIENT_PRECISION)
    d = chunk * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    tl.store(dk_pointer + j[:, None] * DIM + d[None, :], dk * LN2, mask=in_j[:, None] & (d < DIM)[None, :])
    if chunk == 0:
        tl.store(dw_pointer + heads * num_columns + j[:, None], dw, mask=in_j[:, None] & (heads < HEADS))
