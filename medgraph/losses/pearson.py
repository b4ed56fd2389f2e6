"""Pearson: predicted scores rise and fall with the true ones."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph.losses import inputs
from medgraph.losses.loss import Loss


class Pearson(Loss):
    """1 - correlation of predictions and targets over the batch: 0 for a rising line, 2 for a falling one.

    Neither shift nor positive scale of either list matters. If one of the lists is constant, or has fewer than two
    entries, the correlation counts as 0 and nothing is learned. Targets carry no gradient.

    Example:
        >>> round(Pearson()(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 30.0])).item(), 4)
        0.0
    """

    def forward(self, predictions: Float[Tensor, " n"], targets: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        inputs.check_lists(predictions, targets)
        dtype = torch.promote_types(torch.promote_types(predictions.dtype, targets.dtype), torch.float32)
        if len(predictions) < 2:
            return 1 + predictions.to(dtype).sum() * 0
        x, y = predictions.to(dtype), targets.detach().to(dtype)
        if x.min() == x.max() or y.min() == y.max():
            return 1 + x.sum() * 0
        x, y = _near_one(x), _near_one(y)
        x, y = x - x.mean(), y - y.mean()
        return 1 - (x / x.norm() * (y / y.norm())).sum()


def _near_one(x: Tensor) -> Tensor:
    """The list times a power of two, exactly, so that no square overflows or vanishes: its largest entry is near 1."""
    exponent = math.frexp(float(x.detach().abs().max()))[1]
    half = exponent // 2  # in two steps, as the whole power may be beyond the dtype
    return x * 2.0**-half * 2.0 ** (half - exponent)
