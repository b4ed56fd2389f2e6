"""What the fused kernels do with one tile: load embeddings, scores, pair terms, sums, gradient.

Everything is in base 2: scale, biases, thresholds and log-weights come multiplied by log2(e), so that exp2 needs no
further product.

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
LSE = tl.constexpr(0)  # what is reduced: a log-sum-exp, or the sum of a function of the scores
IDENTITY = tl.constexpr(1)
SOFTPLUS = tl.constexpr(2)
SQUARE = tl.constexpr(3)
RELU = tl.constexpr(4)
EXP = tl.constexpr(5)


@triton.jit
@no_type_check
def load_rows(pointer, rows, inside, chunk, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr):
    """Some embeddings (rows, BLOCK_DIM), from width `chunk * BLOCK_DIM` on; zero outside."""
    d = chunk * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    return tl.load(pointer + rows[:, None] * DIM + d[None, :], mask=inside[:, None] & (d < DIM)[None, :], other=0.0)


@triton.jit
@no_type_check
def product(x, y, TYPE: tl.constexpr, PRECISION: tl.constexpr):
    """x @ y in float32 of factors in TYPE (the interpreter cannot multiply bfloat16, but float32 holds it exactly)."""
    return tl.dot(x.to(TYPE), y.to(TYPE), input_precision=PRECISION)


@triton.jit
@no_type_check
def scores(
    q, k, q_pointer, k_pointer, i, j, in_i, in_j, scale, a, b,
    DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, CHUNKS: tl.constexpr, TYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores of a tile. `q` and `k` are the first BLOCK_DIM numbers of its embeddings; the rest is loaded here."""
    x = product(q, tl.trans(k), TYPE, PRECISION)
    for chunk in tl.static_range(1, CHUNKS):
        more_q = load_rows(q_pointer, i, in_i, chunk, DIM, BLOCK_DIM)
        more_k = load_rows(k_pointer, j, in_j, chunk, DIM, BLOCK_DIM)
        x += product(more_q, tl.trans(more_k), TYPE, PRECISION)
    return x * scale[:, None] + a[:, None] + b[None, :]


@triton.jit
@no_type_check
def squared_distance(row_floats, column_floats, row_at, column_at, i, j, in_i, in_j, num_rows, num_columns, count):
    """Squared Euclidean distance of labels, all pairs of a tile."""
    total = in_i[:, None].to(tl.float32) * in_j[None, :].to(tl.float32) * 0.0
    for r in range(count):
        y = tl.load(row_floats + (row_at + r) * num_rows + i, mask=in_i, other=0.0)
        other = tl.load(column_floats + (column_at + r) * num_columns + j, mask=in_j, other=0.0)
        difference = y[:, None] - other[None, :]
        total += difference * difference
    return total


@triton.jit
@no_type_check
def term(
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
        squared = squared_distance(
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
def logits(
    x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
    ALPHA: tl.constexpr, HEAD: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """alpha * scores + the terms of one head; -inf outside the matrix."""
    z = ALPHA * x
    for t in tl.static_range(0, len(TERMS), NUMBERS_PER_TERM):
        if TERMS[t + 1] == -1 or TERMS[t + 1] == HEAD:
            z = term(
                z, x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns,
                TERMS[t], TERMS[t + 2], TERMS[t + 3], TERMS[t + 4], TERMS[t + 5],
            )  # fmt: skip
    return tl.where(in_i[:, None] & in_j[None, :], z, float("-inf"))


@triton.jit
@no_type_check
def without_infinity(top):
    """A shift that may be subtracted: 0 where nothing was summed."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
@no_type_check
def store_lse(pointer, top, total, inside):
    """Store ln(total * 2**top); -inf where nothing was summed."""
    log = (without_infinity(top) + tl.log2(tl.where(total > 0, total, 1.0))) * LN2
    tl.store(pointer, tl.where(total > 0, log, float("-inf")), mask=inside)


@triton.jit
@no_type_check
def add_to_columns(z, j, in_j, top_pointer, total_pointer):
    """Add a tile to this program's own running sums over rows."""
    old = tl.load(top_pointer + j, mask=in_j, other=float("-inf"))
    new = tl.maximum(old, tl.max(z, 0))
    safe = without_infinity(new)
    total = tl.load(total_pointer + j, mask=in_j, other=0.0)
    total = total * tl.exp2(old - safe) + tl.sum(tl.exp2(z - safe[None, :]), 0)
    tl.store(top_pointer + j, new, mask=in_j)
    tl.store(total_pointer + j, total, mask=in_j)


@triton.jit
@no_type_check
def function(x, PHI: tl.constexpr, SLOPE: tl.constexpr):
    """A function of scores, or its slope."""
    if PHI == IDENTITY:
        y = x * 0.0 + 1.0 if SLOPE else x
    elif PHI == SQUARE:
        y = 2.0 * x if SLOPE else x * x
    elif PHI == RELU:
        y = (x > 0).to(tl.float32) if SLOPE else tl.maximum(x, 0.0)
    elif PHI == EXP:
        y = tl.exp(x)
    else:
        e = tl.exp(-tl.abs(x))
        if SLOPE:
            y = tl.where(x >= 0, 1.0, e) / (1.0 + e)
        else:  # log(1 + e) = e log(u) / (u - 1) with the rounded u = 1 + e, exact also where e is lost in u
            u = 1.0 + e
            y = tl.maximum(x, 0.0) + tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    return y


@triton.jit
@no_type_check
def summands(
    x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, num_rows, num_columns,
    TERMS: tl.constexpr, PHI: tl.constexpr, SLOPE: tl.constexpr,
):  # fmt: skip
    """Weight times function of the scores, or times its slope; 0 for a pair that was removed, whatever its score."""
    z = logits(
        x, row_ints, column_ints, row_floats, column_floats, i, j, in_i, in_j, num_rows, num_columns, 0.0, 0, TERMS
    )
    kept = z > float("-inf")
    return tl.where(kept, tl.exp2(z) * function(tl.where(kept, x, 0.0) * LN2, PHI, SLOPE), 0.0)


@triton.jit
@no_type_check
def gradient_of_head(
    x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, over_rows, g_rows, over_columns, g_columns,
    num_rows, num_columns, ALPHA: tl.constexpr, HEAD: tl.constexpr, TERMS: tl.constexpr, WITH_COLUMNS: tl.constexpr,
    PHI: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits of one head: g_i 2**(z - L_i) + g'_j 2**(z - C_j). L is +inf for an empty row.

    A sum has two heads: with alpha 1 the gradient of its scores, with alpha 0 that of its log-weights.
    """
    if PHI != LSE:
        g = tl.load(g_rows + i, mask=in_i, other=0.0)
        return g[:, None] * summands(
            x, i, j, in_i, in_j, row_ints, column_ints, row_floats, column_floats, num_rows, num_columns, TERMS, PHI,
            ALPHA == 1.0,
        )  # fmt: skip
    z = logits(
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
