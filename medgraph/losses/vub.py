"""VUB: a variational upper bound of the mutual information against a fixed marginal."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph.losses import inputs
from medgraph.losses.gaussian_predictor import PredictedSalient


class VUB(PredictedSalient):
    """Mean divergence of a learned Gaussian q(s | c) from a standard normal [1].

    mean_i KL( q(s | c_i) || N(0, I) )

    Moves the common code alone: q is held, and s enters only through it. No example gives 0.

    [1] Alemi et al., 2017, arXiv:1612.00410, Eq. 14.

    Args:
        hidden_dim: Width of the hidden layers of q.
    """

    moves_salient = False

    def __init__(self, hidden_dim: int = 64):
        super().__init__(hidden_dim)

    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        mean, log_variance = self.predicted(common)
        divergence = (torch.exp(log_variance) + mean.square() - 1 - log_variance).sum(dim=1) / 2
        return divergence.sum() / max(len(common), 1)
