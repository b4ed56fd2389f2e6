"""How sure a difference is: the paired bootstrap and, of few pairs, Student's t."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medgraph import checks

FEWEST = 3  # pairs that an interval needs
_FEWEST_DRAWN = 10  # pairs: of fewer, the bootstrap's interval is too narrow
_DRAWN_AT_ONCE = 2**22  # numbers: 32 MiB of positions


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over pairs, with the ends of its 95 % interval, None of fewer than 3 pairs, and their number."""

    mean: float
    low: float | None
    high: float | None
    n: int


def paired_difference(
    a: Sequence[float], b: Sequence[float], seed: int = 0, resamples: int = 10_000, of_seeds: bool = False
) -> PairedDifference:
    """Mean of a_i - b_i and its 95 % interval over pairs.

    Of 10 or more pairs it is a percentile-bootstrap interval (Efron, 1979), of 3 to 9 pairs and of seeds a t interval,
    as the bootstrap's would be far too narrow. Fewer than 3 pairs have none.

    Args:
        a, b: One number per case, in the same order.
        seed: Draws the resamples.
        resamples: Number of resamples.
        of_seeds: Pairs are seeds: a t interval of any number.

    Raises:
        ValueError: The lengths differ, or there is no pair.
    """
    checks.same_length(a=a, b=b)
    checks.at_least("number of pairs", len(a), 1)
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    mean, n = float(difference.mean()), len(difference)
    if of_seeds and n >= FEWEST:
        return PairedDifference(mean, *t_interval(difference), n)
    low, high = interval(difference, seed, resamples) or (None, None)
    return PairedDifference(mean, low, high, n)


def interval(values: np.ndarray, seed: int = 0, resamples: int = 10_000) -> tuple[float, float] | None:
    """Ends of the 95 % interval of the mean: by Student's t of 3 to 9 values, drawn of more, None of fewer than 3."""
    if len(values) < FEWEST:
        return None
    return t_interval(values) if len(values) < _FEWEST_DRAWN else mean_interval(values, seed, resamples)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Ends of the 95 % interval of the mean of two or more values, by Student's t distribution."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


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
