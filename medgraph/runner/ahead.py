"""Ahead: load the next batch and make its views on a core that is free, while the step before it computes."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def ahead(batches: Iterable[Any], prepare: Callable[[Any, int], Any]) -> Iterator[Any]:
    """`prepare(batch, index)` of each batch, in order; a second thread is always at work on the one that comes next.

    That thread takes one core, whatever a step takes, and one batch more is in memory. What it runs must not draw from
    torch's global random numbers, which steps reseed meanwhile. Its errors are raised here.

    Args:
        batches: Iterated in the second thread.
        prepare: Called in the second thread.
    """
    prepared = map(prepare, batches, itertools.count())
    with ThreadPoolExecutor(1) as second:
        _take_one_core(second)
        coming = second.submit(next, prepared, _END)
        while (found := coming.result()) is not _END:
            coming = second.submit(next, prepared, _END)
            yield found


def has_free_core() -> bool:
    """Whether this process may use more cores than torch does: on a core that it takes anyway a second thread harms."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > torch.get_num_threads()


def _take_one_core(second: ThreadPoolExecutor) -> None:
    """One core for torch in that thread. In part the setting is the whole process's, so that ours is made again."""
    ours = torch.get_num_threads()
    second.submit(torch.get_num_threads).result()  # the first call in a thread takes over what others have set
    second.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(ours)


_END = object()
