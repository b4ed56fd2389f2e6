"""InterpolatedScorer: the additive scorer of all pairs as one matrix product, to the last digit of its type."""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.terms import AdditiveScorer, PairTerm

MOST_NODES = 24  # per channel; with more a division per pair and channel is as fast (our measurement)
_POLE = 0.9 * math.pi / 2  # tanh has none closer to the real line than pi / 2; 0.9 stays where it is below 7
_DIGITS = 0.01  # of the type's precision: the gradient of an interpolation is less exact than itself


class InterpolatedScorer(PairTerm):
    """log sigmoid(w . tanh(u_i + v_j) + b), with tanh(u + v) interpolated in u at Chebyshev's nodes.

    tanh(u + v) = sum_m T_m(u / range) a_m(v), where a_m(v) are the Chebyshev coefficients of tanh(. + v) on
    [-range, range]. The error falls by the same factor with each node, as tanh is analytic [1]; so many are taken that
    it is below the type's precision. Memory O((n + m) h nodes).

    [1] Trefethen, Approximation Theory and Approximation Practice, 2013, Theorem 8.2.

    Args:
        u: First layer applied to the queries, bias included (n, h).
        v: First layer applied to the keys (m, h).
        weight: Second layer (h,).
        bias: Its bias, a scalar tensor.
        num_nodes: Nodes of each channel.
    """

    values_per_pair = 2
    _latest: tuple[object, Tensor] | None = None

    def __init__(self, u: Tensor, v: Tensor, weight: Tensor, bias: Tensor, num_nodes: int):
        reach = _reach(u)
        angles = (torch.arange(num_nodes, dtype=torch.float64) + 0.5) * (math.pi / num_nodes)
        nodes = (reach * angles.cos()).to(u)
        to_coefficients = (2 / num_nodes * (angles[:, None] * torch.arange(num_nodes)).cos()).to(u)
        to_coefficients[:, 0] /= 2
        coefficients = torch.tanh(v[..., None] + nodes) @ to_coefficients  # (m, h, nodes)
        powers = [torch.ones_like(u), u / reach]
        for _ in range(num_nodes - 2):
            powers.append(2 * powers[1] * powers[-1] - powers[-2])
        polynomials = torch.stack(powers[:num_nodes], dim=2) * weight[:, None]
        self.row_factors, self.column_factors = (polynomials.flatten(1),), (coefficients.flatten(1),)
        self.shared_factors = (bias,)

    def compute(self, rows, columns, shared, block, scores):
        """See the class. A tile that was just computed is not computed again for its gradient."""
        known = self._latest[1] if self._latest is not None and self._latest[0] is block else None
        tile = _LogWeights.apply(known, rows[0], columns[0], shared[0])
        self._latest = (block, tile.detach()) if known is None else None
        return tile


def additive_scorer(u: Tensor, v: Tensor, weight: Tensor, bias: Tensor) -> AdditiveScorer | InterpolatedScorer:
    """The cheaper of the two terms for these values: nodes are few where all entries of u are small."""
    nodes = _num_nodes(u)
    term = AdditiveScorer if nodes is None else partial(InterpolatedScorer, num_nodes=nodes)
    return term(u, v, weight, bias)


def _num_nodes(u: Tensor) -> int | None:
    """As many as the precision of u asks for; None where that is too many, or nothing is known of it."""
    if u.numel() == 0 or u.dtype in (torch.float16, torch.bfloat16) or not bool(u.detach().isfinite().all()):
        return None
    ratio = _POLE / _reach(u)
    growth = ratio + math.sqrt(ratio**2 + 1)  # sum of the half-axes of the ellipse up to the pole
    nodes = math.ceil(-math.log(_DIGITS * torch.finfo(u.dtype).eps) / math.log(growth)) + 1
    return max(nodes, 2) if nodes <= MOST_NODES else None


def _reach(u: Tensor) -> float:
    """The largest absolute value, and a little more than 0."""
    return max(float(u.detach().abs().max()), 1e-3)


class _LogWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, known: Tensor | None, rows: Tensor, columns: Tensor, bias: Tensor) -> Tensor:
        tile = F.logsigmoid(torch.addmm(bias, rows, columns.T)) if known is None else known.view_as(known)
        ctx.save_for_backward(rows, columns, tile)
        return tile

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Any:
        rows, columns, tile = ctx.saved_tensors
        pull = tile.expm1().neg_().mul_(upstream)  # 1 - sigmoid
        return None, pull @ columns, pull.T @ rows, pull.sum()
