"""Smoothed: features of nodes, averaged over the nodes whose features are most alike."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.hetero.batch import GraphViews

_ENTRIES = 2**24  # of cosines held at once


class Smoothed(nn.Module):
    """The mean of an encoder's features over the `num_neighbors` targets that lie nearest by cosine, itself included.

    Where targets of one class lie together, that takes from each what is its own and leaves what it shares with its
    neighbors [1]; where they do not, it mixes classes. So validation tells whether to: `choose.smooth`.

    [1] Wu et al., 2019, arXiv:1902.07153, on a graph that is given; here the graph is that of the features.

    Args:
        encoder: Gives the features of all targets of a graph (n, d); a network, or an `ensemble`.
        num_neighbors: k.

    Attributes:
        out_dim: That of the encoder.
        target_type: Type of the nodes embedded.
    """

    takes_batches = False

    def __init__(self, encoder: Any, num_neighbors: int = 20):
        super().__init__()
        if not hasattr(encoder, "target_type") or encoder.takes_batches:
            raise ValueError(f"encoder: expected one that embeds a whole graph, got {type(encoder).__name__}")
        self.encoder = encoder
        self.num_neighbors = checks.at_least("num_neighbors", num_neighbors, 2)
        self.out_dim, self.target_type = encoder.out_dim, encoder.target_type

    def forward(self, views: GraphViews) -> Tensor:
        """Features of the targets (n, out_dim)."""
        return mean_of_nearest(self.encoder(views), self.num_neighbors)

    def each(self, views: Any) -> list[tuple[Any, Any]]:
        """The networks whose features are averaged, each with the graph as it sees it."""
        return self.encoder.each(views) if hasattr(self.encoder, "each") else [(self.encoder, views)]


def mean_of_nearest(features: Tensor, num_neighbors: int) -> Tensor:
    """Of each row (n, d), the mean over the rows of highest cosine with it, itself included; in blocks of rows.

    A row of zeros, which has no direction, stays as it is, and is no neighbor where there are others.
    """
    unit = F.normalize(features.float(), dim=1)
    bare = (unit == 0).all(dim=1)
    size = max(1, _ENTRIES // len(features))
    blocks = []
    for rows in torch.arange(len(features), device=features.device).split(size):
        cosines = (unit[rows] @ unit.T).masked_fill(bare, -2.0)
        cosines[torch.arange(len(rows), device=rows.device), rows] = 2.0  # itself before its equals
        nearest = cosines.topk(min(num_neighbors, len(features)), dim=1).indices
        means = torch.stack([features[column] for column in nearest.T]).mean(dim=0)
        blocks.append(features[rows].where(bare[rows, None], means))
    return torch.cat(blocks)
