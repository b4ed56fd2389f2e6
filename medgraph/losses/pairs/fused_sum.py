"""Sums of a function of all scores by the fused Triton kernels: linear memory, every tile in registers.

The kernels backward are those of the log-sum-exp. A sum has two heads there: alpha 1 stands for the gradient of the
scores, alpha 0 for that of the log-weights, and the product with the embeddings takes alpha times each.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.fused import Launch, kernels_for, of_columns
from medgraph.losses.pairs.tiled import Plan

HEADS = ((1.0, ()), (0.0, ()))


def fused_sum(
    phi: str,
    queries: Tensor,
    keys: Tensor,
    scale: Tensor,
    row_bias: Tensor | None,
    column_bias: Tensor | None,
    plan: Plan,
    known: Sequence[Tensor] | None = None,
) -> Tensor:
    """The sums (n,). Inputs and errors as in `fused_lse`; `phi` names the function."""
    kernels = kernels_for(queries.device)
    factors = [factor for term in plan.terms for factor in term.factors]
    both = replace(plan, heads=HEADS)
    return _FusedSum.apply(both, phi, known, kernels, queries, keys, scale, row_bias, column_bias, *factors)


class _FusedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, phi: str, known: Any, kernels: Any, q: Tensor, k: Tensor, scale: Tensor, a: Any, b: Any,
        *factors: Tensor,
    ) -> Tensor:  # fmt: skip
        function = getattr(kernels.fused_tile, phi.upper())
        launch = Launch.of(kernels, plan, q.contiguous(), k.contiguous(), scale, a, b)
        launch = replace(launch, gradients={**launch.gradients, "PHI": function})
        ctx.plan, ctx.launch = plan, launch
        ctx.save_for_backward(scale, *factors)
        return launch.sum_rows() if known is None else known[0].detach()

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Any:
        scale, *factors = ctx.saved_tensors
        launch, needs = ctx.launch, ctx.needs_input_grad[4:]
        statistics = (upstream.float().contiguous(),) * 4  # the kernels read the second alone
        dq = dk = dscale = da = db = None
        if needs[0] or needs[2] or needs[3]:
            dq, da = launch.backward_rows(statistics, with_columns=False)
            if needs[2]:
                along = (launch.q.float() * dq).sum(1)  # (n,)
                dscale = along if scale.ndim else along.sum()
            dq = (dq * (scale if scale.ndim == 0 else scale[:, None])).to(launch.q.dtype)
        dfactors: list[Tensor | None] = [None] * len(factors)
        if needs[1] or needs[4] or any(needs[5:]):
            dk, (db, dw) = launch.backward_columns(statistics, with_columns=False)
            dk = dk.to(launch.k.dtype)
            dfactors = [
                g.to(f.dtype) if need and g is not None else None
                for g, f, need in zip(
                    of_columns(replace(ctx.plan, heads=()), dw[None]), factors, needs[5:], strict=True
                )
            ]
        return (None, None, None, None, dq, dk, dscale, da if needs[3] else None, db if needs[4] else None, *dfactors)
