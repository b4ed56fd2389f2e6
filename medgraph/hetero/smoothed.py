"""Smoothed: features of nodes, averaged over the nodes whose features are most alike."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.hetero.batch import GraphViews

_ENTRIES = 2**24  # of cosines held at once


class Smoothed(nn.Module):
    """An encoder's features, averaged over the `num_neighbors` targets that lie nearest by cosine, itself included.

    Y = A^rounds X: in each round every target takes the mean over the same neighbors, those of X. Where targets of one
    class lie together, that takes from each what is its own and leaves what it shares with its neighbors [1]; after
    many rounds, what it shares with all that chains of neighbors lead to. Where they do not, it mixes classes. So
    validation tells whether to, and how far: `choose.smooth`.

    [1] Wu et al., 2019, arXiv:1902.07153, on a graph that is given; here the graph is that of the features.

    Args:
        encoder: Gives the features of all targets of a graph (n, d); a network, or an `ensemble`.
        num_neighbors: k.
        rounds: How often features are averaged.
        symmetric: A target also averages over those whose neighbor it is. Otherwise targets that are neighbors of many
            draw these toward themselves, round after round.

    Attributes:
        out_dim: That of the encoder.
        target_type: Type of the nodes embedded.
    """

    takes_batches = False

    def __init__(self, encoder: Any, num_neighbors: int = 20, rounds: int = 1, symmetric: bool = False):
        super().__init__()
        if not hasattr(encoder, "target_type") or encoder.takes_batches:
            raise ValueError(f"encoder: expected one that embeds a whole graph, got {type(encoder).__name__}")
        self.encoder = encoder
        self.num_neighbors = checks.at_least("num_neighbors", num_neighbors, 2)
        self.rounds, self.symmetric = checks.at_least("rounds", rounds, 1), symmetric
        self.out_dim, self.target_type = encoder.out_dim, encoder.target_type

    def forward(self, views: GraphViews) -> Tensor:
        """Features of the targets (n, out_dim)."""
        features = self.encoder(views)
        return self.smooth(features, self.neighbors(features))

    def neighbors(self, features: Tensor) -> Tensor:
        """Numbers of each target's neighbors (n, k) among features that the encoder gave (n, out_dim)."""
        return nearest(features, self.num_neighbors)

    def smooth(self, features: Tensor, neighbors: Tensor) -> Tensor:
        """Features that the encoder gave (n, out_dim), averaged over their neighbors."""
        return averaged(features, neighbors, self.rounds, self.symmetric)

    def each(self, views: Any) -> list[tuple[Any, Any]]:
        """The networks whose features are averaged, each with the graph as it sees it."""
        return self.encoder.each(views) if hasattr(self.encoder, "each") else [(self.encoder, views)]


def nearest(features: Tensor, num_neighbors: int) -> Tensor:
    """Numbers of the rows (n, k) of highest cosine with each row (n, d), itself first, in blocks of rows.

    A row of zeros, which has no direction, lists itself alone, and is no neighbor where there are others.
    """
    unit = F.normalize(features.float(), dim=1)
    bare = (unit == 0).all(dim=1)
    blocks = []
    for rows in torch.arange(len(unit), device=unit.device).split(max(1, _ENTRIES // len(unit))):
        cosines = (unit[rows] @ unit.T).masked_fill(bare, -2.0)
        cosines[torch.arange(len(rows), device=rows.device), rows] = 2.0  # itself before its equals
        found = cosines.topk(min(num_neighbors, len(unit)), dim=1).indices
        blocks.append(found.where(~bare[rows, None], rows[:, None]))
    return torch.cat(blocks)


def averaged(features: Tensor, neighbors: Tensor, rounds: int = 1, symmetric: bool = False) -> Tensor:
    """A^rounds X (n, d) of features X, A the mean over the listed neighbors (n, k); see `Smoothed`."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))  # a CPU has no sparse product of halves
    average = _adjacency(neighbors, symmetric).to(features)
    with torch.autocast(features.device.type, enabled=False):
        for _ in range(rounds):
            features = torch.sparse.mm(average, features)
    return features


def _adjacency(neighbors: Tensor, symmetric: bool) -> Tensor:
    """What gives each row the mean over its neighbors: sparse (n, n), every row summing to 1, in double precision."""
    rows = torch.arange(len(neighbors), device=neighbors.device)[:, None].expand_as(neighbors)
    places = torch.stack([rows.flatten(), neighbors.flatten()])
    if symmetric:
        places = torch.cat([places, places.flip(0)], dim=1)
    weights = 1 / places[0].bincount().double()
    size = (len(neighbors), len(neighbors))
    return torch.sparse_coo_tensor(places, weights[places[0]], size, check_invariants=True).coalesce()
