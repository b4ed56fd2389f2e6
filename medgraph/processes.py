"""Talk to the other training processes: the only door to torch.distributed. Alone, every function does nothing.

Gradients follow one contract: each process computes its own loss, and a gather sends every process's gradient back to
the owner of the rows as a sum. The usual averaging of parameter gradients then gives the gradient of the mean loss.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn  # its defaults hold the group of all processes if it is imported later: threads outlive it
from torch import Tensor
from torch.autograd.function import once_differentiable

SCATTERS = {"nccl"}  # backends with a reduce-scatter worth using; the others all-reduce and keep their rows


def world_size(group: Any = None) -> int:
    """Number of processes in the group; 1 when alone."""
    return dist.get_world_size(group) if _together() else 1


def rank(group: Any = None) -> int:
    """Number of this process in the group, from 0."""
    return dist.get_rank(group) if _together() else 0


def is_main(group: Any = None) -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank(group) == 0


def wait() -> None:
    """Until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def from_main(value: Any) -> Any:
    """What the main process gives, in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_reduce_sum(x: Tensor, group: Any = None) -> Tensor:
    """Sum of `x` over processes, a new tensor without gradient."""
    return _reduced(x, dist.ReduceOp.SUM, group)


def all_reduce_max(x: Tensor, group: Any = None) -> Tensor:
    """Elementwise maximum of `x` over processes, a new tensor without gradient."""
    return _reduced(x, dist.ReduceOp.MAX, group)


def total(x: Tensor, group: Any = None) -> Tensor:
    """Sum of `x` over processes, with gradient: what each process's loss asks of the sum comes back summed."""
    return x if world_size(group) == 1 else _Total.apply(x, group)


def counts(x: Tensor, group: Any = None) -> list[int]:
    """Number of rows of `x` in each process, in the order of processes."""
    if world_size(group) == 1:
        return [len(x)]
    own = torch.tensor([len(x)], device=x.device)
    everyone = [torch.empty_like(own) for _ in range(world_size(group))]
    dist.all_gather(everyone, own, group=group)
    return torch.cat(everyone).tolist()


def gather(x: Tensor, group: Any = None, sizes: Sequence[int] | None = None) -> Tensor:
    """The rows of all processes, in the order of processes, with gradient. Row counts may differ between processes.

    Args:
        x: Rows of this process (n, ...); all other axes equal in every process.
        group: Process group; None is all processes.
        sizes: What `counts` returned, if known; saves an exchange.
    """
    if world_size(group) == 1:
        return x
    sizes = counts(x, group) if sizes is None else sizes
    return _Gather.apply(x, tuple(sizes), group)


class Shift:
    """A hop around the ring under way: tensors leave for the next process, those of the previous one come in."""

    def __init__(self, tensors: Sequence[Tensor], size: int, group: Any = None, tag: int = 0):
        """Start sending rows `tensors`, and receiving equally shaped ones with `size` rows. `tag` tells hops apart."""
        world, own = world_size(group), rank(group)
        after, before = (_global_rank((own + step) % world, group) for step in (1, -1))
        self._sent = [x.contiguous() for x in tensors]  # kept alive until they have left
        self._received = tuple(x.new_empty((size, *x.shape[1:])) for x in tensors)
        operations = []
        for number, (x, y) in enumerate(zip(self._sent, self._received, strict=True), start=tag):
            operations.append(dist.P2POp(dist.isend, x, after, group, number))
            operations.append(dist.P2POp(dist.irecv, y, before, group, number))
        self._work = dist.batch_isend_irecv(operations) if operations else []

    def wait(self) -> tuple[Tensor, ...]:
        """The received tensors, once they are here."""
        for work in self._work:
            work.wait()
        self._work, self._sent = [], []
        return self._received


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: tuple[int, ...], group: Any) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        longest = max(sizes)
        everyone = [x.new_empty((longest, *x.shape[1:])) for _ in sizes]
        dist.all_gather(everyone, _padded(x.detach(), longest), group=group)
        return torch.cat([rows[:size] for rows, size in zip(everyone, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        own = rank(ctx.group)
        if dist.get_backend(ctx.group) not in SCATTERS:
            return all_reduce_sum(gradient, ctx.group).split(ctx.sizes)[own], None, None
        longest = max(ctx.sizes)
        parts = [_padded(part, longest) for part in gradient.split(ctx.sizes)]
        total = torch.empty_like(parts[0])
        dist.reduce_scatter(total, parts, group=ctx.group)
        return total[: ctx.sizes[own]], None, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return all_reduce_sum(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return all_reduce_sum(gradient, ctx.group), None


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _global_rank(number: int, group: Any) -> int:
    return number if group is None else dist.get_global_rank(group, number)


def _reduced(x: Tensor, operation: Any, group: Any) -> Tensor:
    result = x.detach().clone(memory_format=torch.contiguous_format)
    if world_size(group) > 1:
        dist.all_reduce(result, op=operation, group=group)
    return result


def _padded(x: Tensor, size: int) -> Tensor:
    return torch.cat([x, x.new_zeros((size - len(x), *x.shape[1:]))])
