"""MomentumEncoder: a copy of an encoder that follows it slowly, for keys that stay consistent from step to step."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks


class MomentumEncoder(nn.Module):
    """A copy whose weights are a moving average of the encoder's [1]; it gives keys, and gets no gradient.

    copy = m copy + (1 - m) encoder  after every optimizer step, by `update`. m is `momentum`, or under "cosine" [2]
    rises from it to 1:  m = 1 - (1 - momentum) (1 + cos(pi step / num_steps)) / 2.

    [1] He et al., 2020, arXiv:1911.05722, Eq. 2. [2] Grill et al., 2020, arXiv:2006.07733, App. J.

    Args:
        encoder: Copied at its present weights; stays as it is.
        momentum: Nearer to 1, keys change more slowly.
        schedule: "constant", or "cosine", which needs `num_steps`.
        num_steps: Updates until a cosine momentum is 1.
        buffers: Running statistics: "copy" takes the encoder's, "average" moves like a weight; counters are copied.

    Example:
        >>> encoder = nn.Linear(2, 2)
        >>> slow = MomentumEncoder(encoder, momentum=0.9)
        >>> slow.update(encoder)
        >>> slow(torch.ones(1, 2)).requires_grad
        False
    """

    _step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        momentum: float = 0.999,
        schedule: str = "constant",
        num_steps: int | None = None,
        buffers: str = "copy",
    ):
        super().__init__()
        self.momentum = checks.fraction("momentum", momentum)
        self.schedule = checks.one_of("schedule", schedule, ("constant", "cosine"))
        self.buffers_by = checks.one_of("buffers", buffers, ("copy", "average"))
        if (schedule == "cosine") != (num_steps is not None):
            raise ValueError(f'num_steps: needed for schedule "cosine" only, got {num_steps} with {schedule!r}')
        self.num_steps = None if num_steps is None else checks.at_least("num_steps", num_steps, 1)
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("_step", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the copy gives, without gradient."""
        return self.encoder(*inputs)

    def present_momentum(self) -> float:
        """The momentum of the next update."""
        if self.num_steps is None:
            return self.momentum
        progress = min(int(self._step) / self.num_steps, 1.0)
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * progress)) / 2

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Move towards `encoder`; call it once after every optimizer step."""
        share = 1 - self.present_momentum()
        for mine, theirs in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            mine.lerp_(theirs.to(mine), share)
        for statistic, present in zip(self.encoder.buffers(), encoder.buffers(), strict=True):
            if self.buffers_by == "average" and statistic.is_floating_point():
                statistic.lerp_(present.to(statistic), share)
            else:
                statistic.copy_(present)
        self._step += 1

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}, schedule={self.schedule}, buffers={self.buffers_by}"
