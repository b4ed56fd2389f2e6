"""What a loss asks of the other processes: with `dist` None nothing leaves this one, alone nothing happens.

The contract: each process takes the mean over its own anchors, corrected for uneven numbers of them; the usual
averaging of parameter gradients then gives the gradient of one process that holds all examples.
"""

import torch
from torch import Tensor

from medgraph import processes


def world(dist: str | None) -> int:
    """Number of processes that contrast together: what a sum over own anchors is multiplied by, see the contract."""
    return 1 if dist is None else processes.world_size()


def count(x: Tensor, dist: str | None) -> int:
    """Number of rows of `x` in all processes."""
    return len(x) if dist is None else sum(processes.counts(x))


def ids(x: Tensor, dist: str | None) -> Tensor:
    """A number for each row of `x` that no other row has, in any process."""
    first = 0 if dist is None else sum(processes.counts(x)[: processes.rank()])
    return torch.arange(first, first + len(x), device=x.device)


def rows(x: Tensor, dist: str | None) -> Tensor:
    """The rows of all processes, with gradient; for small things, a number per example."""
    return x if dist is None else processes.gather(x)


def from_least(labels: Tensor, like: Tensor, dist: str | None) -> Tensor:
    """Labels (n, *l) in the type of `like`, less the smallest of all processes where that type would round them.

    Large whole numbers, dates say, so keep the distances between them.
    """
    if labels.is_floating_point() and torch.promote_types(labels.dtype, like.dtype) == like.dtype:
        return labels.to(like)
    wide = labels.to(like.device) if labels.is_floating_point() else labels.to(like.device, torch.int64)
    largest = torch.finfo(wide.dtype).max if wide.is_floating_point() else torch.iinfo(wide.dtype).max
    least = torch.cat([wide, wide.new_full((1, *wide.shape[1:]), largest)]).amin(dim=0)  # a process may hold none
    least = least if dist is None else -processes.all_reduce_max(-least)
    return (wide - least).to(like)


def by_label(x: Tensor, labels: Tensor, dist: str | None) -> tuple[Tensor, Tensor]:
    """For each row the sum of all rows of its label, in all processes (n, d), with gradient, and their number (n,)."""
    _, codes, sizes = rows(labels, dist).unique(return_inverse=True, return_counts=True)
    codes = codes[ids(x, dist)]
    sums = x.new_zeros(len(sizes), x.shape[1]).index_add(0, codes, x)
    return total(sums, dist)[codes], sizes[codes]


def total(x: Tensor, dist: str | None) -> Tensor:
    """The sum of `x` over processes, with gradient."""
    return x if dist is None else processes.total(x)
