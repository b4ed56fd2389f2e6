"""Averages: what the targets' features tell when they are averaged over neighbors, without any learning."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.data import sparse
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batch import GraphViews, times
from medgraph.hetero.operators import SparseOperator

_ROUNDS = 2  # as many as the graph encoder has layers


class Averages(nn.Module):
    """Unit rows of C C X V (n, dim): X the target's features, C the mean of the meta-path graphs.

    V holds the first `dim` right singular vectors of X of the first graph that comes, and stays with the weights, so
    that another graph is embedded in the same space. Nothing has a gradient.

    Args:
        spec: Facts of the data: width of the target's features.
        dim: Number of directions; those beyond the rank of the features are 0.
    """

    directions: Tensor

    def __init__(self, spec: MetapathSpec, dim: int):
        super().__init__()
        width = spec.feature_dims[spec.target_type]
        if not width:
            raise ValueError(
                f"output: joined needs features of {spec.target_type}, which has none; take fine, or set "
                "data.bare_target to walks"
            )
        self.register_buffer("directions", torch.zeros(width, dim))

    @torch.no_grad()
    def fit_once(self, views: GraphViews) -> None:
        """Take the directions of this graph's features, unless there are some."""
        if self.directions.any():
            return
        features = views.features[views.target_type]
        held = features.forward_matrix if isinstance(features, SparseOperator) else features
        assert isinstance(held, Tensor)
        _, found = sparse.singular_directions(sparse.to_scipy(held.cpu()), self.directions.shape[1])
        self.directions[:, : found.shape[1]] = torch.from_numpy(found).to(self.directions)

    @torch.no_grad()
    def forward(self, views: GraphViews) -> Tensor:
        """Of all targets (n, dim); after `fit_once`."""
        with torch.autocast(self.directions.device.type, enabled=False):
            averaged = times(views.features[views.target_type], self.directions)
            for _ in range(_ROUNDS):
                averaged = views.coarse(averaged)
            return F.normalize(averaged, dim=1)
