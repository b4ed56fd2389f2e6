"""VL1Out: a leave-one-out upper bound of the mutual information of the two codes."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph.losses import inputs, pairs
from medgraph.losses.gaussian_predictor import PredictedSalient, log_density


class VL1Out(PredictedSalient):
    """Leave-one-out upper bound of I(c; s) with a learned Gaussian q(s | c) [1].

    mean_i [ log q(s_i | c_i) - log 1/(n-1) sum_{j != i} q(s_i | c_j) ]

    Memory linear in n. Fewer than two examples give 0.

    [1] Poole et al., 2019, arXiv:1905.06922, Eq. 13, with q in place of the known conditional.

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
        center = salient.detach().mean(dim=0).to(mean)  # moves s and the means alike, keeps the small digits
        salient, mean = salient.to(mean) - center, mean - center
        # log q(s_i | c_j) = <s_i^2, -1/2v_j> + <s_i, m_j/v_j> - sum(m_j^2/v_j + log v_j + log 2 pi)/2
        precision = torch.exp(-log_variance)
        bias = log_density(torch.zeros_like(mean), mean, log_variance)
        others = pairs.pair_lse(
            torch.cat([salient.square(), salient], dim=1),
            torch.cat([-precision / 2, mean * precision], dim=1),
            col_bias=bias,
            terms=(pairs.terms.ExcludeSameId(torch.arange(len(mean), device=mean.device)),),
        )[0]
        return (log_density(salient, mean, log_variance) - others).mean() + math.log(len(mean) - 1)
