"""The additive scorer w . tanh(u_i + v_j) + b over all pairs of a tile, without a tanh per pair."""

from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs.first_order import first_order

LIMIT = 20.0  # tanh is 1 to float64's last bit from here on, and exp(2 * 20) squared still fits float32


def additive_scores(u: Tensor, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """b + sum_c w_c tanh(u_ic + v_jc) for all rows i and columns j, one channel at a time: memory of three tiles.

    With a = exp(-2u) and f = exp(2v), tanh(u + v) = 1 - 2 a / (a + f): one division for each pair and channel. An
    entry of u or v beyond +-20 counts as +-20, where tanh has saturated unless the two nearly cancel.

    Args:
        u: Rows (n, h).
        v: Columns (m, h).
        weight: One per channel (h,).
        bias: A scalar.
    """
    return _AdditiveScores.apply(u, v, weight, bias)


class _AdditiveScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(u, v, weight)
        a, f = _exponentials(u, v)
        out = (bias + weight.sum()).expand(len(u), len(v)).clone()
        total = torch.empty_like(out)
        for channel in range(len(weight)):
            torch.add(a[channel][:, None], f[channel][None, :], out=total)
            out.addcdiv_((-2 * weight[channel] * a[channel])[:, None], total)
        return out

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Any:
        u, v, weight = ctx.saved_tensors
        a, f = _exponentials(u, v)
        du, dv, dweight = torch.empty_like(a), torch.empty_like(f), torch.empty_like(weight)
        whole = upstream.sum()
        total, share = torch.empty_like(upstream), torch.empty_like(upstream)
        ones = upstream.new_ones(len(v))
        for channel in range(len(weight)):
            torch.add(a[channel][:, None], f[channel][None, :], out=total)
            torch.div(upstream, total, out=share)
            dweight[channel] = whole - 2 * (a[channel] @ (share @ ones))
            share.div_(total)  # upstream / (a + f)^2, and tanh' = 4 a f / (a + f)^2
            du[channel] = 4 * weight[channel] * a[channel] * (share @ f[channel])
            dv[channel] = 4 * weight[channel] * f[channel] * (a[channel] @ share)
        return du.T, dv.T, dweight, whole


def _exponentials(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-2u) and exp(2v), by channel (h, n) and (h, m)."""
    return (-2 * u.clamp(-LIMIT, LIMIT)).exp().T.contiguous(), (2 * v.clamp(-LIMIT, LIMIT)).exp().T.contiguous()
