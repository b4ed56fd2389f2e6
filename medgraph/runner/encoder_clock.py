"""Encoder clock: how much of a training's time goes into the encoder, and how many images it saw."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class EncoderClock:
    """Seconds of the encoder's forward and backward passes, by hooks on its modules.

    Forward: while one of its modules runs, nested ones counted once. Backward: from the first gradient that reaches an
    output of the encoder to the end of the pass, since nothing before the encoder learns.

    Only for devices that finish a call before it returns, as the CPU does.

    Args:
        encoder: Stays as it is; `close` takes the hooks away.

    Attributes:
        seconds: Spent in the encoder so far.
        images: Images or slices that went through its first convolution; 0 where it has none.
    """

    def __init__(self, encoder: nn.Module):
        self.seconds, self.images = 0.0, 0
        self._depth, self._began, self._reached, self._is_backward = 0, 0.0, 0.0, False
        self._first = next((m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
        self._encoder, self._hooks = encoder, list[Any]()
        self._open()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what does not count; the encoder has no hooks meanwhile."""
        self.close()
        try:
            yield
        finally:
            self._open()

    def _open(self) -> None:
        self._hooks += [hook for module in self._encoder.modules() for hook in self._watch(module)]

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Around a backward pass."""
        self._is_backward, self._reached = True, 0.0
        try:
            yield
        finally:
            self._is_backward = False
        if self._reached:
            self.seconds += time.perf_counter() - self._reached

    def _watch(self, module: nn.Module) -> list[Any]:
        return [module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave)]

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._is_backward:  # a forward pass run again there is part of the backward pass
            return
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1
        if module is self._first:
            self.images += len(inputs[0])

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        if self._is_backward:
            return
        self._depth -= 1
        if self._depth:
            return
        self.seconds += time.perf_counter() - self._began
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(self._reach)

    def _reach(self, gradient: Tensor) -> None:
        self._reached = self._reached or time.perf_counter()
