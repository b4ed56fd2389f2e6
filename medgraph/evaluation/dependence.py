"""Whether two sets of features depend on each other: centered kernel alignment against permutations."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

_MOST_ROWS = 500  # the whole matrices are held


@dataclass(frozen=True)
class Dependence:
    """Alignment from 0 to 1, its mean and 95 % range over permutations, and the share of them that reach it.

    `examples` were compared, one of each subject.
    """

    alignment: float
    permuted: float
    low: float
    high: float
    p_value: float
    examples: int


def dependence(
    first: np.ndarray, second: np.ndarray, subjects: np.ndarray, seed: int = 0, permutations: int = 200
) -> Dependence:
    """Centered alignment of Gaussian kernels with median bandwidths (Gretton et al., 2005), on at most 500 rows.

    One example of each subject is drawn: examples of one subject resemble each other, and permuted singly they would
    make independent features look dependent.

    Args:
        first, second: Features (n, d) and (n, e) of the same examples.
        subjects: Whom each example is of, (n,).
        seed: Draws rows and permutations.
        permutations: Number of permutations; the smallest p-value is one over it plus 1.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(first))
    _, earliest = np.unique(subjects[drawn], return_index=True)
    rows = drawn[np.sort(earliest)][:_MOST_ROWS]
    k, m = _centered(first[rows]), _centered(second[rows])
    size = np.sqrt(np.square(k).sum() * np.square(m).sum())
    if size == 0:
        return Dependence(0.0, 0.0, 0.0, 0.0, 1.0, len(rows))
    found = float((k * m).sum() / size)
    orders = [rng.permutation(len(rows)) for _ in range(permutations)]
    permuted = np.array([(k * m[order][:, order]).sum() / size for order in orders])
    low, high = np.percentile(permuted, (2.5, 97.5))
    p_value = float((1 + (permuted >= found).sum()) / (1 + permutations))
    return Dependence(found, float(permuted.mean()), float(low), float(high), p_value, len(rows))


def _centered(features: np.ndarray) -> np.ndarray:
    distances = pdist(np.asarray(features, dtype=np.float64), "sqeuclidean")
    median = np.median(distances[distances > 0]) if (distances > 0).any() else 1.0
    kernel = np.exp(-squareform(distances) / median)
    return kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
