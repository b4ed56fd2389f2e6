"""Triton kernels of the fused backend; `fused` prepares their arguments and is the only one to import this file.

Everything is in base 2: scale, biases, thresholds and log-weights come multiplied by log2(e), so that exp2 needs no
further product. Numbers of rows and columns are arguments of a run, not of the compilation: a last batch of another
size compiles nothing. A kernel stores each result once; no two programs write to the same place.

`TERMS` lists the pair terms as numbers, `NUMBERS_PER_TERM` each: kind, head (-1: all), where its factors begin among
those of rows and of columns, how many there are, and a value (a gap).
"""

from typing import no_type_check  # kernels are no Python functions: run-time type checks would break them

import triton
import triton.language as tl

NUMBERS_PER_TERM = tl.constexpr(6)
DIFFERENT = tl.constexpr(0)  # keep pairs of different codes
DIFFERENT_FILLED = tl.constexpr(1)  # and keys whose code is not negative
EQUAL = tl.constexpr(2)
DISAGREEMENT = tl.constexpr(3)  # log2 of the number of codes that differ
COLUMN = tl.constexpr(4)  # add the key's log-weight
FLOOR = tl.constexpr(5)
CEIL = tl.constexpr(6)
LOG_DISTANCE = tl.constexpr(7)  # log2(1 + distance)
GAUSSIAN = tl.constexpr(8)  # - squared distance, of labels already scaled
GAP = tl.constexpr(9)  # keep pairs at least `value` apart
GAP_OR_SAME = tl.constexpr(10)  # or at distance 0
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
@no_type_check
def _load_rows(pointer, rows, inside, chunk, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr):
    """Some embeddings (rows, BLOCK_DIM), from width `chunk * BLOCK_DIM` on; zero outside."""
    d = chunk * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    return tl.load(pointer + rows[:, None] * DIM + d[None, :], mask=inside[:, None] & (d < DIM)[None, :], other=0.0)


@triton.jit
@no_type_check
def _product(x, y, TYPE: tl.constexpr, PRECISION: tl.constexpr):
    """x @ y in float32 of factors in TYPE (the interpreter cannot multiply bfloat16, but float32 holds it exactly)."""
    return tl.dot(x.to(TYPE), y.to(TYPE), input_precision=PRECISION)


@triton.jit
@no_type_check
def _scores(
    q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores of a tile. `q` and `k` are the first BLOCK_DIM numbers of its embeddings; the rest is loaded here."""
    x = _product(q, tl.trans(k), TYPE, PRECISION)
    for chunk in tl.static_range(1, CHUNKS):
        more_q = _load_rows(q_pointer, i, in_i, chunk, DIM, BLOCK_DIM)
        more_k = _load_rows(k_pointer, j, in_j, chunk, DIM, BLOCK_DIM)
        x += _product(more_q, tl.trans(more_k), TYPE, PRECISION)
    return x * scale[:, None] + a[:, None] + b[None, :]


@triton.jit
@no_type_check
def _squared_distance(row_floats, column_floats, row_at, column_at, i, j, in_i, in_j, num_rows, num_columns, count):
    total = in_i[:, None].to(tl.float32) * in_j[None, :].to(tl.float32) * 0.0
    for r in range(count):
        y = tl.load(row_floats + (row_at + r) * num_rows + i, mask=in_i, other=0.0)
        other = tl.load(column_floats + (column_at + r) * num_columns + j, mask=in_j, other=0.0)
        difference = y[:, None] - other[None, :]
        total += difference * difference
    return total


@triton.jit
@no_type_check
def _term(
    z, x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
    KIND: tl.constexpr, ROW_AT: tl.constexpr, COLUMN_AT: tl.constexpr, COUNT: tl.constexpr, VALUE: tl.constexpr,
):  # fmt: skip
    """The logits of a tile with one term added; `x` are its scores."""
    if KIND <= EQUAL:
        code = tl.load(row_ints + ROW_AT * num_rows + i, mask=in_i, other=0)
        other = tl.load(column_ints + COLUMN_AT * num_columns + j, mask=in_j, other=0)
        if KIND == EQUAL:  # noqa: SIM108 (decided when compiling)
            keep = code[:, None] == other[None, :]
        else:
            keep = code[:, None] != other[None, :]
        if KIND == DIFFERENT_FILLED:
            keep = keep & (other >= 0)[None, :]
        z = tl.where(keep, z, float("-inf"))
    elif KIND == DISAGREEMENT:
        number = x * 0.0
        for r in tl.static_range(COUNT):
            code = tl.load(row_ints + (ROW_AT + r) * num_rows + i, mask=in_i, other=0)
            other = tl.load(column_ints + (COLUMN_AT + r) * num_columns + j, mask=in_j, other=0)
            number += (code[:, None] != other[None, :]).to(tl.float32)
        z = tl.where(number > 0, z + tl.log2(tl.maximum(number, 1.0)), float("-inf"))
    elif KIND == COLUMN:
        z += tl.load(column_floats + COLUMN_AT * num_columns + j, mask=in_j, other=0.0)[None, :]
    elif KIND == FLOOR:
        threshold = tl.load(row_floats + ROW_AT * num_rows + i, mask=in_i, other=0.0)
        z = tl.where(x >= threshold[:, None], z, float("-inf"))
    elif KIND == CEIL:
        threshold = tl.load(row_floats + ROW_AT * num_rows + i, mask=in_i, other=0.0)
        z = tl.where(x <= threshold[:, None], z, float("-inf"))
    else:
        squared = _squared_distance(
            row_floats, column_floats, ROW_AT, COLUMN_AT, i, j, in_i, in_j, num_rows, num_columns, COUNT
        )
        if KIND == LOG_DISTANCE:
            z += tl.log2(1.0 + tl.sqrt(squared))
        elif KIND == GAUSSIAN:
            z -= squared
        else:
            keep = tl.sqrt(squared) >= VALUE
            if KIND == GAP_OR_SAME:
                keep = keep | (squared == 0.0)
            z = tl.where(keep, z, float("-inf"))
    return z


@triton.jit
@no_type_check
def _logits(
    x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
    ALPHA: tl.constexpr, HEAD: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """alpha * scores + the terms of one head; -inf outside the matrix."""
    z = ALPHA * x
    for t in tl.static_range(0, len(TERMS), NUMBERS_PER_TERM):
        if TERMS[t + 1] == -1 or TERMS[t + 1] == HEAD:
            z = _term(
                z, x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
                TERMS[t], TERMS[t + 2], TERMS[t + 3], TERMS[t + 4], TERMS[t + 5],
            )  # fmt: skip
    return tl.where(in_i[:, None] & in_j[None, :], z, float("-inf"))


@triton.jit
@no_type_check
def _without_infinity(top):
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
@no_type_check
def _store_lse(pointer, top, total, inside):
    """Store ln(total * 2**top); -inf where nothing was summed."""
    log = (_without_infinity(top) + tl.log2(tl.where(total > 0, total, 1.0))) * LN2
    tl.store(pointer, tl.where(total > 0, log, float("-inf")), mask=inside)


@triton.jit
@no_type_check
def _add_to_columns(z, j, in_j, top_pointer, total_pointer):
    """Add a tile to this program's own running sums over rows."""
    old = tl.load(top_pointer + j, mask=in_j, other=float("-inf"))
    new = tl.maximum(old, tl.max(z, 0))
    safe = _without_infinity(new)
    total = tl.load(total_pointer + j, mask=in_j, other=0.0)
    total = total * tl.exp2(old - safe) + tl.sum(tl.exp2(z - safe[None, :]), 0)
    tl.store(top_pointer + j, new, mask=in_j)
    tl.store(total_pointer + j, total, mask=in_j)


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
        q = _load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
        scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
        a = tl.load(a_pointer + i, mask=in_i, other=0.0)
        tops = tl.full((ROWS, PADDED_HEADS), float("-inf"), tl.float32)
        totals = tl.zeros((ROWS, PADDED_HEADS), tl.float32)
        for start in range(0, num_columns, COLUMNS):
            j = start + tl.arange(0, COLUMNS).to(tl.int64)
            in_j = j < num_columns
            k = _load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
            b = tl.load(b_pointer + j, mask=in_j, other=0.0)
            x = _scores(
                q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION
            )
            for h in tl.static_range(HEADS):
                z = _logits(
                    x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
                    ALPHAS[h], h, TERMS,
                )  # fmt: skip
                this = heads == h
                old = tl.max(tl.where(this, tops, float("-inf")), 1)
                new = tl.maximum(old, tl.max(z, 1))
                safe = _without_infinity(new)
                total = tl.sum(tl.where(this, totals, 0.0), 1) * tl.exp2(old - safe)
                total += tl.sum(tl.exp2(z - safe[:, None]), 1)
                tops, totals = tl.where(this, new[:, None], tops), tl.where(this, total[:, None], totals)
                if WITH_COLUMNS:
                    where = own + h * num_columns
                    _add_to_columns(z, j, in_j, column_tops + where, column_totals + where)
        if WITH_COLUMNS:
            tl.debug_barrier()  # the next block of rows reads what other threads of this program wrote
        _store_lse(over_rows + heads * num_rows + i[:, None], tops, totals, in_i[:, None] & (heads < HEADS))


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
        safe = _without_infinity(new)
        share_total = tl.load(column_totals + program * num_columns + j, mask=in_j, other=0.0)
        total = total * tl.exp2(top - safe) + share_total * tl.exp2(share - safe)
        top = new
    _store_lse(over_columns + j, top, total, in_j)


@triton.jit
@no_type_check
def _gradient(
    x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows, over_columns, g_columns,
    num_rows, num_columns, ALPHA: tl.constexpr, HEAD: tl.constexpr, TERMS: tl.constexpr, WITH_COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits of one head: g_i 2**(z - L_i) + g'_j 2**(z - C_j). L is +inf for an empty row."""
    z = _logits(
        x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns, ALPHA, HEAD, TERMS
    )
    log_sum = tl.load(over_rows + HEAD * num_rows + i, mask=in_i, other=float("inf"))
    g = tl.load(g_rows + HEAD * num_rows + i, mask=in_i, other=0.0)
    gradient = g[:, None] * tl.exp2(z - log_sum[:, None])
    if WITH_COLUMNS:
        column_log_sum = tl.load(over_columns + HEAD * num_columns + j, mask=in_j, other=float("inf"))
        column_g = tl.load(g_columns + HEAD * num_columns + j, mask=in_j, other=0.0)
        gradient += column_g[None, :] * tl.exp2(z - column_log_sum[None, :])
    return gradient


@triton.jit(do_not_specialize=["num_rows", "num_columns"])
@no_type_check
def backward_rows(
    q_pointer, k_pointer, scale_pointer, a_pointer, b_pointer, row_ints, column_ints, row_floats, column_floats,
    over_rows, g_rows, over_columns, g_columns, dq_pointer, da_pointer, num_rows, num_columns,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, ALPHAS: tl.constexpr, TERMS: tl.constexpr, WITH_COLUMNS: tl.constexpr,
    TYPE: tl.constexpr, PRECISION: tl.constexpr,
    ROUNDED: tl.constexpr, GRADIENT_TYPE: tl.constexpr, GRADIENT_PRECISION: tl.constexpr,
):  # fmt: skip
    """sum_j G_ij k_j (not yet times scale) and sum_j G_ij of one block of rows; one chunk of the width."""
    chunk = tl.program_id(1)
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    in_i = i < num_rows
    q = _load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
    scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
    a = tl.load(a_pointer + i, mask=in_i, other=0.0)
    dq = tl.zeros((ROWS, BLOCK_DIM), tl.float32)
    da = tl.zeros((ROWS,), tl.float32)
    for start in range(0, num_columns, COLUMNS):
        j = start + tl.arange(0, COLUMNS).to(tl.int64)
        in_j = j < num_columns
        k = _load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
        b = tl.load(b_pointer + j, mask=in_j, other=0.0)
        x = _scores(q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION)
        gradient = tl.zeros((ROWS, COLUMNS), tl.float32)
        for h in tl.static_range(HEADS):
            gradient += ALPHAS[h] * _gradient(
                x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows, over_columns,
                g_columns, num_rows, num_columns, ALPHAS[h], h, TERMS, WITH_COLUMNS,
            )  # fmt: skip
        if CHUNKS > 1:
            k = _load_rows(k_pointer, j, in_j, chunk, DIM, BLOCK_DIM)
        dq += _product(gradient.to(ROUNDED), k, GRADIENT_TYPE, GRADIENT_PRECISION)
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
    ROUNDED: tl.constexpr, GRADIENT_TYPE: tl.constexpr, GRADIENT_PRECISION: tl.constexpr,
):  # fmt: skip
    """sum_i scale_i G_ij q_i and, per head, the sum over rows of the gradient of the logits; one chunk of the width."""
    chunk = tl.program_id(1)
    num_rows, num_columns = num_rows.to(tl.int64), num_columns.to(tl.int64)
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    in_j = j < num_columns
    heads = tl.arange(0, PADDED_HEADS)[None, :]
    k = _load_rows(k_pointer, j, in_j, 0, DIM, BLOCK_DIM)
    b = tl.load(b_pointer + j, mask=in_j, other=0.0)
    dk = tl.zeros((COLUMNS, BLOCK_DIM), tl.float32)
    dw = tl.zeros((COLUMNS, PADDED_HEADS), tl.float32)
    for start in range(0, num_rows, ROWS):
        i = start + tl.arange(0, ROWS).to(tl.int64)
        in_i = i < num_rows
        q = _load_rows(q_pointer, i, in_i, 0, DIM, BLOCK_DIM)
        scale = tl.load(scale_pointer + i, mask=in_i, other=0.0)
        a = tl.load(a_pointer + i, mask=in_i, other=0.0)
        x = _scores(q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b, DIM, BLOCK_DIM, CHUNKS, TYPE, PRECISION)
        gradient = tl.zeros((ROWS, COLUMNS), tl.float32)
        for h in tl.static_range(HEADS):
            of_head = _gradient(
                x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows, over_columns,
                g_columns, num_rows, num_columns, ALPHAS[h], h, TERMS, WITH_COLUMNS,
            )  # fmt: skip
            gradient += ALPHAS[h] * of_head
            dw += tl.where(heads == h, tl.sum(of_head, 0)[:, None], 0.0)
        gradient = (gradient * scale[:, None]).to(ROUNDED)
        if CHUNKS > 1:
            q = _load_rows(q_pointer, i, in_i, chunk, DIM, BLOCK_DIM)
        dk += _product(tl.trans(gradient), q, GRADIENT_TYPE, GRADIENT_PRECISION)
    d = chunk * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    tl.store(dk_pointer + j[:, None] * DIM + d[None, :], dk * LN2, mask=in_j[:, None] & (d < DIM)[None, :])
    if chunk == 0:
        tl.store(dw_pointer + heads * num_columns + j[:, None], dw, mask=in_j[:, None] & (heads < HEADS))
