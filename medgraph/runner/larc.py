"""LARC: momentum whose step is a fixed share of each weight's own size."""

from collections.abc import Callable
from typing import Any

import torch

from medgraph import checks


class LARC:
    """Stochastic gradient descent with momentum, the gradient of each tensor scaled to the tensor (You et al., 2017).

    gradient <- trust |w| / (|gradient| + weight_decay |w|) (gradient + weight_decay w), without a limit from above: a
    step moves a tensor by at most lr * trust of its norm, before momentum adds up. Tensors whose norm, or whose
    gradient's, is 0 are left unscaled. Biases and norms (one axis) are not decayed.

    Args:
        lr: Peak learning rate; a group's `lr_scale` multiplies it.
        momentum: Share of the last step that is kept.
        weight_decay: Shrinks matrices and kernels.
        trust: Share of a tensor's norm that a step of lr 1 moves it by.
    """

    def __init__(self, lr: float = 0.3, momentum: float = 0.9, weight_decay: float = 1e-6, trust: float = 0.001):
        self.lr = checks.positive("lr", lr)
        self.momentum = checks.between("momentum", momentum, 0.0, 0.99999)
        self.weight_decay = checks.not_negative("weight_decay", weight_decay)
        self.trust = checks.positive("trust", trust)

    def make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The torch optimiser over parameter groups of `Method.parameter_groups`."""
        made = []
        for group in groups:
            scaled = self.lr * group.get("lr_scale", 1.0)
            for is_matrix in (True, False):
                chosen = [p for p in group["params"] if (p.ndim > 1) is is_matrix]
                decay = self.weight_decay if is_matrix else 0.0
                made += [{"params": chosen, "lr": scaled, "peak_lr": scaled, "decay": decay}] if chosen else []
        return _ScaledSGD(made, self.momentum, self.trust)


class _ScaledSGD(torch.optim.SGD):
    def __init__(self, groups: list[dict[str, Any]], momentum: float, trust: float):
        super().__init__(groups, momentum=momentum)
        self._trust = trust

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        for group in self.param_groups:
            for weight in (p for p in group["params"] if p.grad is not None):
                size, slope = weight.detach().norm(), weight.grad.norm()
                weight.grad.add_(weight.detach(), alpha=group["decay"])
                known = (size > 0) & (slope > 0)
                factor = self._trust * size / (slope + group["decay"] * size).clamp_min(1e-30)
                weight.grad.mul_(torch.where(known, factor, torch.ones_like(factor)))
        return super().step(closure)
