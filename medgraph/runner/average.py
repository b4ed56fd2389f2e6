"""Average: weights that follow the trained ones slowly, and that training leaves behind in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medgraph import checks

_STATISTICS = (
    "running_mean",
    "running_var",
)  # of normalization; other buffers (banks, queues, counts) stay as they are


class Average:
    """An exponential moving average of a method's trained weights and running statistics (Polyak and Juditsky, 1992).

    average = d average + (1 - d) weights after every optimizer step, with d = min(decay, (1 + step) / (10 + step)), so
    that the first weights, which nothing has trained, are soon forgotten.

    Args:
        method: Whose weights are followed; it is not changed.
        decay: Nearer to 1, the average reaches back over more steps, about 1 / (1 - decay).

    Attributes:
        tensors: The averages by name, as in the method's state.
    """

    def __init__(self, method: nn.Module, decay: float):
        self.decay = checks.between("ema", decay, 0.0, 0.999999)
        self.tensors = {name: value.detach().clone() for name, value in _followed(method).items()}

    @torch.no_grad()
    def update(self, method: nn.Module, step: int) -> None:
        """Move towards the weights after optimizer step number `step` (0-based)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        present = _followed(method)
        for name, mine in self.tensors.items():
            mine.lerp_(present[name].to(mine), share)

    @torch.no_grad()
    def copy_to(self, method: nn.Module) -> None:
        """Give the method its average weights."""
        for name, value in _followed(method).items():
            value.copy_(self.tensors[name])

    @contextmanager
    def in_place(self, method: nn.Module) -> Iterator[None]:
        """While it lasts, the method has its average weights; after it, the trained ones, to the last bit."""
        trained = {name: value.detach().clone() for name, value in _followed(method).items()}
        self.copy_to(method)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in _followed(method).items():
                    value.copy_(trained[name])


def _followed(method: nn.Module) -> dict[str, Tensor]:
    """Trained parameters and running statistics by name."""
    weights = {name: value for name, value in method.named_parameters() if value.requires_grad}
    statistics = {n: value for n, value in method.named_buffers() if n.rsplit(".", 1)[-1] in _STATISTICS}
    return weights | statistics
