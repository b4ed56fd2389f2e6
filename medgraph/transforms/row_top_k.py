"""The best entries of each row of a sparse matrix, ties by smaller column."""

import numpy as np
import scipy.sparse as sp

_PADDED_ENTRIES = 1_000_000  # of the padded rows that are worked on at once


def keep_top(matrix: sp.csr_matrix, scores: np.ndarray, k: int) -> np.ndarray:
    """Which stored entries are among the `k` best of their row, as a mask.

    Args:
        matrix: CSR with columns in order; only its pattern matters.
        scores: One for each stored entry; larger is better. Equal ones: the earlier entry wins.
        k: How many of a row are kept.
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
        kept[places] = _best(padded, k)[filled]
        start = stop
    return kept


def _best(padded: np.ndarray, k: int) -> np.ndarray:
    """Mask of the `k` largest of each row; of those equal to the last one, the first."""
    last = np.partition(padded, padded.shape[1] - k, axis=1)[:, -k, None]
    above = padded > last
    room = k - above.sum(axis=1, keepdims=True)
    equal = padded == last
    return above | (equal & (np.cumsum(equal, axis=1) <= room))
