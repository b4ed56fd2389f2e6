"""SemanticAttention: fuse the views of all meta-paths by one weight per view."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class SemanticAttention(nn.Module):
    """Weighted mean of views, the weights by an attention that all nodes share [1].

    w_v = (1/n) sum_i a . tanh(W z_i^v + b),  beta = softmax(w),  z = sum_v beta_v z^v.

    [1] Wang et al., 2019, arXiv:1903.07293, Eqs. 7 to 9.

    Args:
        dim: Width of the views.
        dropout: Share of the vector a that is dropped in training.
        fusion: "attention", or "mean" for equal weights.
    """

    def __init__(self, dim: int, dropout: float = 0.0, fusion: str = "attention"):
        super().__init__()
        self.dropout = checks.between("dropout", dropout, 0.0, 0.99)
        self.fusion = checks.one_of("fusion", fusion, ("attention", "mean"))
        if fusion == "attention":
            self.hidden = nn.Linear(dim, dim)
            self.score = nn.Parameter(torch.empty(1, dim))
            nn.init.xavier_normal_(self.hidden.weight, gain=1.414)
            nn.init.xavier_normal_(self.score, gain=1.414)

    def forward(self, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The fused view (n, d), and the weight of each view (v,)."""
        weights = self.weights(views)
        fused = weights[0] * views[0]
        for weight, view in zip(weights[1:], views[1:], strict=True):
            fused = fused + weight * view
        return fused, weights

    def weights(self, views: Sequence[Tensor]) -> Tensor:
        """The weight of each view (v,), summing to 1."""
        if self.fusion == "mean":
            return views[0].new_full((len(views),), 1 / len(views))
        score = F.dropout(self.score, self.dropout, self.training)[0]
        means = [torch.tanh(self.hidden(view)).mean(dim=0) for view in views]  # (d,) each
        return torch.stack([mean @ score for mean in means]).softmax(dim=0)
