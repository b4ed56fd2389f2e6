"""Every pair term that the fused kernels know, for N queries and M keys; takes a generator."""

import torch

from medgraph.losses.pairs import terms
from medgraph.losses.pairs.distances import GaussianKernel, LogDistance, MinimalGap

N, M = 200, 130  # neither is a multiple of a tile


def randn(rng, *shape):
    """Random numbers."""
    return torch.randn(*shape, generator=rng)


def integers(rng, high, *shape):
    """Random integers from 0."""
    return torch.randint(0, high, shape, generator=rng)


CASES = {
    "same id": lambda g: terms.ExcludeSameId(integers(g, 40, N), integers(g, 40, M)),
    "empty slots": lambda g: terms.ExcludeSameId(integers(g, 40, N), integers(g, 40, M) - 5),
    "negatives": lambda g: terms.OnlyNegatives(integers(g, 3, N), integers(g, 3, M)),
    "positives": lambda g: terms.OnlyPositives(integers(g, 3, N), integers(g, 3, M)),
    "equal": lambda g: terms.RequireEqual(integers(g, 3, N), integers(g, 3, M)),
    "codes": lambda g: terms.CodeDisagreement(integers(g, 2, N, 3), integers(g, 2, M, 3)),
    "eight codes": lambda g: terms.CodeDisagreement(integers(g, 4, N, 8), integers(g, 4, M, 8)),
    "weight": lambda g: terms.ColumnLogWeight(randn(g, M)),
    "floor": lambda g: terms.ScoreFloor(randn(g, N)),
    "ceil": lambda g: terms.ScoreCeil(randn(g, N)),
    "log distance": lambda g: terms.LabelDistance(integers(g, 9, N) + 10**9, integers(g, 9, M) + 10**9, LogDistance()),
    "kernel": lambda g: terms.LabelDistance(randn(g, N), randn(g, M), GaussianKernel(0.7)),
    "kernel of vectors": lambda g: terms.LabelDistance(randn(g, N, 3), randn(g, M, 3), GaussianKernel(2.0)),
    "gap": lambda g: terms.LabelDistance(integers(g, 9, N), integers(g, 9, M), MinimalGap(3)),
    "gap or same": lambda g: terms.LabelDistance(integers(g, 9, N), integers(g, 9, M), MinimalGap(3, keep_same=True)),
}
