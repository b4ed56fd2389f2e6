"""Thinning: every n-th of neighbouring examples, since neighbours look almost the same."""

import numpy as np


def every_nth(groups: np.ndarray, stride: int, seed: int, epoch: int) -> np.ndarray:
    """Which of the examples `(n,)` one epoch shows: in each group every `stride`-th, from a start drawn for the epoch.

    A group of m examples shows max(1, m // stride) of them, so that epochs are of one length; each comes up in time.

    Args:
        groups: Group of each example, e.g. its volume; neighbours of a group lie next to each other.
        stride: Step from one shown example of a group to the next; 1 shows all.
        seed: Seed of the run.
        epoch: Epochs finished.
    """
    shown = np.zeros(len(groups), dtype=bool)
    names, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    drawn = np.random.default_rng([seed, epoch, stride]).random(len(names))
    for start, size, uniform in zip(first, sizes, drawn, strict=True):
        count = max(1, size // stride)
        offset = int(uniform * (size - stride * (count - 1)))
        shown[start + offset + stride * np.arange(count)] = True
    return shown
