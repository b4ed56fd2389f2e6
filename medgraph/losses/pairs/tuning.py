"""Which variant of a kernel is fastest: timed once for every bucket of shapes, then remembered.

Sizes count by the power of two above them, so that a last batch of another size times nothing.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

REPEATS = 3
_chosen: dict[Hashable, int] = {}


def bucket(number: int) -> int:
    """The power of two that is `number` or the next above it."""
    return 1 << max(number - 1, 0).bit_length()


def fastest(key: Hashable, tries: Sequence[Callable[[], Any]]) -> int:
    """Index of the fastest of `tries`, all of which compute the same; those of a known key are not run again."""
    if key not in _chosen:
        seconds = [_seconds(each) for each in tries]
        _chosen[key] = seconds.index(min(seconds))
    return _chosen[key]


def _seconds(run: Callable[[], Any]) -> float:
    """Least time of a few runs, after one that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        _wait()
        start = time.perf_counter()
        run()
        _wait()
        times.append(time.perf_counter() - start)
    return min(times)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
