"""How sure a difference is: the paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgraph import checks


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over pairs, with the ends of its 95 % interval and the number of pairs."""

    mean: float
    low: float
    high: float
    n: int


def paired_difference(
    a: Sequence[float], b: Sequence[float], seed: int = 0, resamples: int = 10_000
) -> PairedDifference:
    """Mean of a_i - b_i and its 95 % percentile-bootstrap interval over pairs (Efron, 1979).

    Args:
        a, b: One number per case, in the same order.
        seed: Draws the resamples.
        resamples: Number of resamples.

    Raises:
        ValueError: The lengths differ, or there is no pair.
    """
    checks.same_length(a=a, b=b)
    checks.at_least("resamples", resamples, 1)
    checks.at_least("number of pairs", len(a), 1)
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(difference), size=(resamples, len(difference)))
    low, high = np.percentile(difference[drawn].mean(axis=1), (2.5, 97.5))
    return PairedDifference(float(difference.mean()), float(low), float(high), len(difference))
