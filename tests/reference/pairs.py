"""Slow oracles of the pair reductions: double loops in double precision."""

import math


def loop_lse(q, k, scale=1.0, row_bias=None, col_bias=None, weight=None, alpha=1.0):
    """log sum_j weight(i, j) exp(alpha x_ij) for each i, one pair at a time; `weight(i, j)` in [0, inf)."""
    out = []
    for i, query in enumerate(q.tolist()):
        c = float(scale[i]) if getattr(scale, "ndim", 0) == 1 else float(scale)
        logits = []
        for j, key in enumerate(k.tolist()):
            w = 1.0 if weight is None else float(weight(i, j))
            if w > 0:
                x = c * math.fsum(a * b for a, b in zip(query, key, strict=True))
                x += 0.0 if row_bias is None else float(row_bias[i])
                x += 0.0 if col_bias is None else float(col_bias[j])
                logits.append(alpha * x + math.log(w))
        top = max(logits, default=-math.inf)
        out.append(top + math.log(math.fsum(math.exp(z - top) for z in logits)) if logits else -math.inf)
    return out


def loop_sum(q, k, phi, scale=1.0, offset=None, weight=None):
    """sum_j weight(i, j) phi(x_ij - offset_i) for each i, one pair at a time."""
    out = []
    for i, query in enumerate(q.tolist()):
        o = 0.0 if offset is None else float(offset[i])
        xs = [scale * math.fsum(a * b for a, b in zip(query, key, strict=True)) - o for key in k.tolist()]
        out.append(math.fsum((1.0 if weight is None else weight(i, j)) * phi(x) for j, x in enumerate(xs)))
    return out
