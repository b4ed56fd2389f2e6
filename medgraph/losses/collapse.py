"""Collapse: the background's salient codes are the information-less vector (SepCLR)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.loss import Loss


class Collapse(Loss):
    """Mean squared distance of the background's salient codes from the information-less vector s' = 0 [1].

    mean over background i of |s_i|^2 / (2 bandwidth)

    0 only when every background code is s'. Targets get no gradient. No background gives 0.

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        bandwidth: Variance of the two narrow Gaussians whose divergence this is; larger weakens the pull.

    Example:
        >>> Collapse(bandwidth=0.5)(torch.tensor([[3.0, 4.0], [9.0, 9.0]]), torch.tensor([False, True])).item()
        25.0
    """

    def __init__(self, bandwidth: float = 0.5):
        super().__init__()
        self.bandwidth = checks.positive("bandwidth", bandwidth)

    def forward(self, salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, salient=salient)
        background, count = salient[~is_target], (~is_target).sum()
        if not torch.compiler.is_compiling() and count == 0:  # a graph cannot ask
            inputs.warn_of_zero(f"none of {len(salient)} examples is background")
        background = background.to(torch.promote_types(background.dtype, torch.float32))
        return background.square().sum() / (2 * self.bandwidth * count.double().clamp_min(1)).to(background.dtype)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}"
