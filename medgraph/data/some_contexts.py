"""Factorized walks of a graph too large for all co-occurrences: those with some nodes, drawn at random."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

_COLUMNS = 256  # contexts at once, beside the matrices of all that are drawn


def vectors_from_some(
    steps: Sequence[sp.csr_matrix],
    node_types: Sequence[str],
    contexts: np.ndarray,
    rounds: int,
    dim: int,
    power: float,
    seed: int,
) -> dict[str, list[np.ndarray]]:
    """What `FactorizedWalks` makes of M, from the columns of M that belong to `contexts`, times sqrt(n / contexts).

    Inner products of its rows, over columns drawn uniformly, are in the mean those over all columns. Holds two matrices
    (n, contexts), and takes `rounds` products of every step with as many columns; no product of two steps is formed.

    Args:
        steps: Chances of each step along the meta-path, from node type to node type.
        node_types: Those on the path, from the first back to it: one more than there are steps.
        contexts: Numbers of nodes of the first type, each once.
        rounds: Rounds along the meta-path that count as near.
        dim: Width of the vectors at most.
        power: How much stronger directions weigh.
        seed: Of the randomized decomposition.

    Returns:
        Per node type one array (nodes, at most dim) for each place it has on the path, but the last; the first type has
        that of its first place alone.
    """
    num_nodes = steps[0].shape[0]
    weight = np.float32((num_nodes / len(contexts)) ** 0.5)
    visits, seen = (np.empty((num_nodes, len(contexts)), np.float32, order="F") for _ in "12")
    noise = np.empty(len(contexts), np.float32)
    for columns in _slices(len(contexts)):
        visits[:, columns] = _visits(steps, contexts[columns], rounds)
        together = _walked(steps, visits[:, columns])
        noise[columns] = together.mean(axis=0)
        seen[:, columns] = weight * log_ratio(together, noise[columns])
    u, s, basis = factorized(seen, dim, power, seed)
    del seen
    found = {node_types[0]: [u * s**power]}
    for place, name in enumerate(node_types[1:-1], start=1):
        if name == node_types[0]:
            continue
        rows = np.zeros((steps[place].shape[0], len(s)), np.float32)
        for columns in _slices(len(contexts)):
            together = _walked(steps[place:], visits[:, columns])
            rows += weight * log_ratio(together, noise[columns]) @ basis[columns]
        found.setdefault(name, []).append(rows)
    return found


def factorized(matrix: np.ndarray, dim: int, power: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s and V s^(power - 1) of M = U s V^T, of its `dim` strongest directions at most, or of as many as it has."""
    u, s, vt = randomized_svd(matrix, min(dim, *matrix.shape), random_state=seed)
    rank = int(np.sum(s > s[0] * len(matrix) * np.finfo(np.float32).eps))  # what lies below is rounding alone
    return u[:, :rank], s[:rank], vt[:rank].T * s[:rank] ** (power - 1)


def log_ratio(chances: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """log max(chances / noise, 1), in place; 0 for what no walk from the first type meets."""
    np.divide(chances, noise, out=chances, where=noise > 0)
    return np.log(np.maximum(chances, 1, out=chances), out=chances)


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _COLUMNS) for start in range(0, count, _COLUMNS))


def _walked(steps: Sequence[sp.csr_matrix], ends: np.ndarray) -> np.ndarray:
    """The mean of `ends` over the walks from each node of the first step, along all steps."""
    for step in reversed(steps):
        ends = step @ ends
    return ends


def _visits(steps: Sequence[sp.csr_matrix], contexts: np.ndarray, rounds: int) -> np.ndarray:
    """The columns of (1 + S + ... + S^(rounds - 1)) / rounds that belong to some nodes, S one round of steps."""
    start = np.zeros((steps[0].shape[0], len(contexts)), np.float32)
    start[contexts, np.arange(len(contexts))] = 1
    visits = start
    for _ in range(rounds - 1):
        visits = _walked(steps, visits) + start
    return visits / np.float32(rounds)
