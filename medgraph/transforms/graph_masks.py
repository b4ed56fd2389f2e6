"""Augmented copies of a graph: some feature entries and some edges left out, the number of them exact."""

import math

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import sparse


class FeatureMask:
    """Sets an exact share of the non-zero feature entries to zero, drawn evenly without replacement.

    Args:
        fraction: Share of the non-zero entries; floor(fraction x entries) are masked.
    """

    def __init__(self, fraction: float = 0.3):
        self.fraction = checks.fraction("fraction", fraction)

    def __repr__(self) -> str:
        return f"FeatureMask(fraction={self.fraction})"

    def draw(self, seed: int, epoch: int, features: Tensor) -> dict[str, Tensor]:
        """Which entries to mask: "dropped", positions among the non-zero entries in order of rows."""
        values = features.values() if features.layout == torch.sparse_csr else features
        return {"dropped": _draw(self.fraction, int((values != 0).sum()), (seed, epoch, 0))}

    def apply(self, features: Tensor, record: dict[str, Tensor]) -> Tensor:
        """The features (CSR or dense) with those entries zero; the layout stays."""
        is_csr = features.layout == torch.sparse_csr
        values = (features.values() if is_csr else features).clone()
        flat = values.view(-1)
        flat[flat.nonzero().squeeze(1)[record["dropped"].to(flat.device)]] = 0
        if not is_csr:
            return values
        matrix = sparse.to_scipy(features.cpu())
        matrix.data = values.cpu().numpy()
        return sparse.to_torch(matrix).to(features.device)


class EdgeMask:
    """Leaves out an exact share of a meta-path graph's directed edges; what stays counts 1, and each node joins itself.

    Args:
        fraction: Share of the off-diagonal edges; floor(fraction x edges) are left out.
    """

    def __init__(self, fraction: float = 0.2):
        self.fraction = checks.fraction("fraction", fraction)

    def __repr__(self) -> str:
        return f"EdgeMask(fraction={self.fraction})"

    def draw(self, seed: int, epoch: int, matrix: sp.csr_matrix, stream: int = 0) -> dict[str, Tensor]:
        """Which edges to leave out: "dropped", positions among the off-diagonal edges in order of rows.

        `stream` keeps the meta-paths of a graph apart.
        """
        return {"dropped": _draw(self.fraction, int((~_on_diagonal(matrix)).sum()), (seed, epoch, 1 + stream))}

    def apply(self, matrix: sp.csr_matrix, record: dict[str, Tensor]) -> sp.csr_matrix:
        """The 0/1 graph of the edges that stay, plus the identity; not yet normalized."""
        stays = ~_on_diagonal(matrix)
        stays[np.flatnonzero(stays)[record["dropped"].numpy()]] = False
        indptr = np.concatenate([[0], np.cumsum(stays)])[matrix.indptr]
        ones = np.ones(int(stays.sum()), dtype=np.float32)
        edges = sp.csr_matrix((ones, matrix.indices[stays], indptr), shape=matrix.shape)
        return (edges + sp.identity(matrix.shape[0], dtype=np.float32, format="csr")).tocsr()


def _draw(fraction: float, count: int, seeds: tuple[int, ...]) -> Tensor:
    chosen = np.random.default_rng(seeds).choice(count, math.floor(fraction * count), replace=False, shuffle=False)
    return torch.from_numpy(np.sort(chosen).astype(np.int64))


def _on_diagonal(matrix: sp.csr_matrix) -> np.ndarray:
    return matrix.indices == np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
