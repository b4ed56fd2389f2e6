"""How sure a difference is: the paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgraph import checks

_DRAWN_AT_ONCE = 2**22  # numbers: 32 MiB of positions


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
    checks.at_least("number of pairs", len(a), 1)
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    low, high = mean_interval(difference, seed, resamples)
    return PairedDifference(float(difference.mean()), low, high, len(difference))


def mean_interval(values: Sequence[float] | np.ndarray, seed: int = 0, resamples: int = 10_000) -> tuple[float, float]:
    """Ends of the 95 % percentile-bootstrap interval of the mean. Raises ValueError for no resample or no value."""
    checks.at_least("resamples", resamples, 1)
    checks.at_least("number of values", len(values), 1)
    rng, found = np.random.default_rng(seed), np.asarray(values, dtype=np.float64)
    at_once = max(1, _DRAWN_AT_ONCE // len(found))
    means = [
        found[rng.integers(len(found), size=(min(at_once, resamples - done), len(found)))].mean(axis=1)
        for done in range(0, resamples, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)
