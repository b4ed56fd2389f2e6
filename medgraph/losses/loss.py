"""Loss: what every loss is called through, so that it computes in full precision whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Loss(nn.Module):
    """A module that runs with autocast off: a loss promotes its inputs to float32 or better, and stays there.

    Exponentials of sharp scores and sums over many pairs need more digits than autocast leaves them. The networks
    before the loss keep their autocast, and so does all that follows the call.
    """

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """`forward` with autocast off."""
        with full_precision(*inputs, *named.values()):
            return super().__call__(*inputs, **named)


def full_precision(*inputs: Any) -> AbstractContextManager[Any]:
    """A context with autocast off on the device of the first tensor among these arguments and lists of them."""
    device = _device(inputs)
    if not torch.is_autocast_enabled(device):  # an exported graph then stays in one piece
        return nullcontext()
    return torch.autocast(device, enabled=False)


def _device(inputs: Any) -> str:
    for x in inputs:
        if isinstance(x, Tensor):
            return x.device.type
        if isinstance(x, list | tuple) and any(isinstance(each, Tensor) for each in x):
            return _device(x)
    return "cpu"
