"""The best entries of each row of a sparse matrix, ties by smaller column or as the caller ranks them."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

_PADDED_ENTRIES = 1_000_000  # of the padded rows that are worked on at once


def keep_top(
    matrix: sp.csr_matrix, scores: np.ndarray, k: int, ranks: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Which stored entries are among the `k` best of their row, as a mask.

    Args:
        matrix: CSR with columns in order; only its pattern matters.
        scores: One for each stored entry; larger is better.
        k: How many of a row are kept.
        ranks: Gives one number for each of the places asked for: of equal scores the smaller number wins, and of equal
            numbers the earlier entry. None: the earlier entry wins.
    """
    kept = np.ones(matrix.nnz, dtype=bool)
    lengths = np.diff(matrix.indptr)
    long = np.flatnonzero(lengths > k)
    long = long[np.argsort(lengths[long], kind="stable")]  # rows of like length together: little padding
    start = 0
    while start < len(long):
        stop = start + 1
        while stop < len(long) and (stop - start + 1) * lengths[long[stop]] <= _PADDED_ENTRIES:
            stop += 1
        rows = long[start:stop]
        width = int(lengths[rows[-1]])
        filled = np.arange(width) < lengths[rows, None]
        places = (matrix.indptr[rows, None] + np.arange(width))[filled]
        padded = np.full(filled.shape, -np.inf)
        padded[filled] = scores[places]
        order = None
        if ranks is not None:
            order = np.full(filled.shape, np.inf)
            order[filled] = ranks(places)
        kept[places] = _best(padded, k, order)[filled]
        start = stop
    return kept


def sorted_ranks(matrix: sp.csr_matrix, scores: np.ndarray, k: int) -> np.ndarray:
    """Minus the place of each stored entry in its whole row as `numpy.argsort` leaves it; 0 in rows of up to `k`.

    Equal scores come in the order of numpy's introsort, whatever the processor: of long doubles, which no vector unit
    sorts. Entries that are not stored count as 0.
    """
    ranks = np.zeros(matrix.nnz)
    row = np.zeros(matrix.shape[1], dtype=np.longdouble)
    place = np.empty(len(row))
    for start, stop in pairwise(matrix.indptr):
        if stop - start > k:
            columns = matrix.indices[start:stop]
            row[columns] = scores[start:stop]
            place[np.argsort(row)] = np.arange(len(row))
            ranks[start:stop] = -place[columns]
            row[columns] = 0
    return ranks


def _best(padded: np.ndarray, k: int, ranks: np.ndarray | None) -> np.ndarray:
    """Mask of the `k` largest of each row; of those equal to the last one, the first ones or those of least rank."""
    last = np.partition(padded, padded.shape[1] - k, axis=1)[:, -k, None]
    above = padded > last
    room = k - above.sum(axis=1, keepdims=True)  # at least 1: the last one itself
    equal = padded == last
    if ranks is None:
        return above | (equal & (np.cumsum(equal, axis=1) <= room))
    ranks = np.where(equal, ranks, np.inf)
    worst = np.take_along_axis(np.sort(ranks, axis=1), room - 1, axis=1)
    better, level = ranks < worst, equal & (ranks == worst)
    left = room - better.sum(axis=1, keepdims=True)
    return above | better | (level & (np.cumsum(level, axis=1) <= left))
