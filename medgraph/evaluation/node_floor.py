"""What node features tell without any learning: alone, and averaged over the meta-path graphs."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.data import sparse

NUM_AVERAGES = 2  # as many as the graph encoder has layers


@torch.no_grad()
def floor_features(data: Any, device: str, dim: int = 64) -> dict[str, Tensor]:
    """Unit rows of every target (n, dim) that a trained encoder has to beat.

    "features": the target's own, as the graph holds them, in their first `dim` singular directions; absent where it has
    none. "averaged": the same after two multiplications by the mean of the normalized meta-path graphs; targets without
    features take the singular directions of that mean graph in their place.

    Args:
        data: A data part with `graph` and, from `train()`, `views`.
        device: Where the result lies.
        dim: Number of directions; fewer where features or targets are fewer.
    """
    coarse, store = data.train().views.to("cpu").coarse, data.graph.data[data.graph.target_type]
    own = sparse.to_scipy(store.x) if "x" in store else None
    held = sum(sparse.to_scipy(g.forward_matrix) for g in coarse.operators) if own is None else own
    averaged = torch.from_numpy(sparse.singular_directions(held, dim)[0])
    found = {} if own is None else {"features": averaged}
    for _ in range(NUM_AVERAGES):
        averaged = coarse(averaged)
    found["averaged"] = averaged
    return {name: F.normalize(features, dim=1).to(device) for name, features in found.items()}
