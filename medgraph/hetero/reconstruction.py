"""FeatureReconstruction: a second task that predicts the target's own features from its embedding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batch import Features
from medgraph.hetero.operators import SparseOperator


class FeatureReconstruction(nn.Module):
    """Mean over targets of (1 - cosine(x_i, x^_i))^sharpness, x^ = fine W + b: GraphMAE's scaled cosine error [1].

    The prediction is (targets, width of the features), the largest tensor of a step for wide features.

    [1] Hou et al., 2022, arXiv:2205.10803, Eq. 2.

    Args:
        spec: Facts of the data: width of the target's features.
        dim: Width of the fine view.
        weight: Weight of the task in the loss; 0 builds nothing.
        sharpness: Power of the error; larger cares less for targets that are predicted well.
    """

    def __init__(self, spec: MetapathSpec, dim: int, weight: float, sharpness: float = 2.0):
        super().__init__()
        self.weight = checks.not_negative("reconstruction_weight", weight)
        self.sharpness = checks.at_least("sharpness", sharpness, 1.0)
        width = spec.feature_dims[spec.target_type]
        if weight and not width:
            raise ValueError(f"reconstruction_weight: {spec.target_type} has no features to predict; set it to 0")
        self.decoder = nn.Linear(dim, width) if weight else None

    def forward(self, fine: Tensor, features: Features) -> Tensor:
        """The error of all targets, a scalar."""
        assert self.decoder is not None
        predicted = self.decoder(fine)  # (n, width)
        if isinstance(features, SparseOperator):
            matrix = features.forward_matrix
            crow, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
            rows = torch.repeat_interleave(torch.arange(len(fine), device=fine.device), crow.diff())
            inner = torch.zeros_like(fine[:, 0]).index_add(0, rows, predicted[rows, columns.long()] * values)
            norm = torch.zeros_like(inner).index_add(0, rows, values * values).sqrt()
        else:
            assert isinstance(features, Tensor)
            inner, norm = (predicted * features).sum(1), features.norm(dim=1)
        known = norm > 0
        cosine = inner[known] / (norm[known] * predicted[known].norm(dim=1).clamp_min(1e-8))
        return (1 - F.hardtanh(cosine, -1.0, 1.0)).pow(self.sharpness).mean()
