"""VCLUB: a variational upper bound of the mutual information of the two codes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph.losses import inputs
from medgraph.losses.gaussian_predictor import PredictedSalient, log_density


class VCLUB(PredictedSalient):
    """Contrastive log-ratio upper bound of I(c; s) with a learned Gaussian q(s | c) [1].

    mean_i log q(s_i | c_i) - mean_ij log q(s_j | c_i)

    An upper bound only where q is good; it also falls when s becomes noise or a constant. Memory linear in n: the mean
    over j needs the mean and the variance of s alone. Fewer than two examples give 0.

    [1] Cheng et al., 2020, arXiv:2006.12013, Eq. 12.

    Args:
        hidden_dim: Width of the hidden layers of q.
    """

    def __init__(self, hidden_dim: int = 64):
        super().__init__(hidden_dim)

    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        if len(common) < 2:
            return common[:0].sum() + salient[:0].sum()
        mean, log_variance = self.predicted(common)
        salient = salient.to(mean)
        center = salient.mean(dim=0)
        scatter = (salient - center).square().mean(dim=0)  # (s,), mean over j of (s_j - center)^2
        joint = log_density(salient, mean, log_variance)
        apart = (
            log_density(center.expand_as(mean), mean, log_variance) - (scatter * torch.exp(-log_variance)).sum(1) / 2
        )
        return (joint - apart).mean()
