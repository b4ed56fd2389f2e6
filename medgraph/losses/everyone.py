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


def by_label(x: Tensor, labels: Tensor, dist: str | None) -> tuple[Tensor, Tensor]:
    """For each label the sum of its rows in all processes (k, d), with gradient, and their number (k,)."""
    sizes = torch.bincount(rows(labels, dist))
    own = x.new_zeros(len(sizes), x.shape[1]).index_add(0, labels, x)
    return total(own, dist), sizes


def total(x: Tensor, dist: str | None) -> Tensor:
    """The sum of `x` over processes, with gradient."""
    return x if dist is None else processes.total(x)
