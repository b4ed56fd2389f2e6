"""Queue: the newest embeddings of past steps, first in, first out; and one queue per code."""

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medgraph import checks, processes


class Queue(nn.Module):
    """Ring of the last `size` vectors, with their ids, labels, codes and ages. Starts empty; saved in checkpoints.

    A batch of any size may be pushed: what does not fit pushes the oldest vectors out. Nothing carries a gradient.
    Every process pushes the batches of all processes, so that their queues stay equal.
    Use as negatives [1], see `MomentumContrast`, or to balance codes over more examples than a batch holds [2].

    [1] He et al., 2020, arXiv:1911.05722. [2] Caron et al., 2020, arXiv:2006.09882, Sec. 4.

    Args:
        size: Number of vectors kept; more are older and agree less with the present encoder.
        dim: Width of a vector.
        dtype: Storage type, "float32", "float16" or "bfloat16"; half precision halves the memory.
        age_decay: How much the log-weight of a vector falls with each later push; 0 trusts old ones like new ones.

    Example:
        >>> queue = Queue(size=3, dim=1)
        >>> queue.push(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        >>> queue.vectors().flatten().tolist()
        [4.0, 3.0, 2.0]
    """

    _vectors: Tensor
    _ids: Tensor
    _labels: Tensor
    _codes: Tensor
    _pushed_at: Tensor
    _num_pushed: Tensor
    _num_pushes: Tensor

    def __init__(self, size: int, dim: int, dtype: str = "float32", age_decay: float = 0.0):
        super().__init__()
        self.size = checks.at_least("size", size, 1)
        self.dim = checks.at_least("dim", dim, 1)
        self.dtype = checks.one_of("dtype", dtype, ("float32", "float16", "bfloat16"))
        self.age_decay = checks.not_negative("age_decay", age_decay)
        self.register_buffer("_vectors", torch.zeros(size, dim, dtype=getattr(torch, dtype)))
        for name in ("_ids", "_labels", "_codes"):
            self.register_buffer(name, torch.full((size,), -1))
        self.register_buffer("_pushed_at", torch.zeros(size, dtype=torch.long))
        self.register_buffer("_num_pushed", torch.zeros((), dtype=torch.long))  # vectors, since the start
        self.register_buffer("_num_pushes", torch.zeros((), dtype=torch.long))  # batches, since the start

    def __len__(self) -> int:
        return min(int(self._num_pushed), self.size)

    @property
    def full(self) -> bool:
        """Whether `size` vectors are there."""
        return len(self) == self.size

    @torch.no_grad()
    def push(
        self,
        vectors: Float[Tensor, "n d"],
        ids: Int[Tensor, " n"] | None = None,
        labels: Int[Tensor, " n"] | None = None,
        codes: Int[Tensor, " n"] | None = None,
    ) -> None:
        """Add a batch, and those of the other processes; the last row counts as the newest.

        `ids` name the examples, `codes` their site, scanner or modality; all are -1 where not given.
        """
        self._store(*_everyones(self.dim, vectors, ids, labels, codes))

    def _store(self, vectors: Tensor, *numbers: Tensor) -> None:
        n, kept = len(vectors), min(len(vectors), self.size)
        places = torch.arange(n - kept, n, device=self._vectors.device)
        places = (places + self._num_pushed) % self.size
        self._vectors[places] = vectors[n - kept :].to(self._vectors)
        for held, new in zip((self._ids, self._labels, self._codes), numbers, strict=True):
            held[places] = new[n - kept :].to(held)
        self._num_pushes += 1
        self._pushed_at[places] = self._num_pushes
        self._num_pushed += n

    def vectors(self) -> Float[Tensor, "m d"]:
        """What is held (at most `size` rows), newest first. Raises ValueError before the first push."""
        return self._vectors[self._newest_first()]

    def ids(self) -> Int[Tensor, " m"]:
        """Example ids of `vectors()`; -1 where none was given."""
        return self._ids[self._newest_first()]

    def labels(self) -> Int[Tensor, " m"]:
        """Labels of `vectors()`; -1 where none was given."""
        return self._labels[self._newest_first()]

    def codes(self) -> Int[Tensor, " m"]:
        """Codes of `vectors()`; -1 where none was given."""
        return self._codes[self._newest_first()]

    def ages(self) -> Int[Tensor, " m"]:
        """How many pushes ago each of `vectors()` came; 0 for the last batch."""
        return self._num_pushes - self._pushed_at[self._newest_first()]

    def log_weights(self) -> Float[Tensor, " m"]:
        """-age_decay times the age of each of `vectors()`: a column log-weight."""
        return -self.age_decay * self.ages().float()

    def _newest_first(self) -> Tensor:
        if len(self) == 0:
            raise ValueError("queue: holds nothing yet; push a batch before asking for vectors")
        back = torch.arange(1, len(self) + 1, device=self._vectors.device)
        return (self._num_pushed - back) % self.size

    def extra_repr(self) -> str:
        return f"size={self.size}, dim={self.dim}, dtype={self.dtype}"


class CodeQueues(nn.Module):
    """One `Queue` for each code (site, scanner, modality), so that a frequent code does not push out a rare one.

    Args:
        num_codes: Number of codes; they run from 0 to one less.
        size: Number of vectors kept of each code.
        dim: Width of a vector.
        dtype: Storage type, "float32", "float16" or "bfloat16"; half precision halves the memory.
        age_decay: How much the log-weight of a vector falls with each later push; 0 trusts old ones like new ones.

    Example:
        >>> queues = CodeQueues(num_codes=2, size=2, dim=1)
        >>> queues.push(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), codes=torch.tensor([0, 1, 1, 1]))
        >>> queues.vectors().flatten().tolist(), queues.codes().tolist()
        ([1.0, 4.0, 3.0], [0, 1, 1])
    """

    def __init__(self, num_codes: int, size: int, dim: int, dtype: str = "float32", age_decay: float = 0.0):
        super().__init__()
        self.num_codes = checks.at_least("num_codes", num_codes, 1)
        self.dim = checks.at_least("dim", dim, 1)
        self.queues = nn.ModuleList(Queue(size, dim, dtype, age_decay) for _ in range(num_codes))

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues())

    @torch.no_grad()
    def push(
        self,
        vectors: Float[Tensor, "n d"],
        codes: Int[Tensor, " n"],
        ids: Int[Tensor, " n"] | None = None,
        labels: Int[Tensor, " n"] | None = None,
    ) -> None:
        """Add each vector to the queue of its code; every other vector held grows older all the same."""
        if len(codes) and (codes.min() < 0 or codes.max() >= self.num_codes):
            raise ValueError(f"codes: expected 0 to {self.num_codes - 1}, got {int(codes.min())} to {int(codes.max())}")
        batch = _everyones(self.dim, vectors, ids, labels, codes)
        for code, queue in enumerate(self._queues()):
            queue._store(*(x[batch[-1] == code] for x in batch))

    def vectors(self) -> Float[Tensor, "m d"]:
        """What is held, code by code, newest first. Raises ValueError before the first push."""
        return self._joined(Queue.vectors)

    def ids(self) -> Int[Tensor, " m"]:
        """Example ids of `vectors()`; -1 where none was given."""
        return self._joined(Queue.ids)

    def labels(self) -> Int[Tensor, " m"]:
        """Labels of `vectors()`; -1 where none was given."""
        return self._joined(Queue.labels)

    def codes(self) -> Int[Tensor, " m"]:
        """Code of each of `vectors()`; together with `RequireEqual`, keys of the query's own code only."""
        return self._joined(Queue.codes)

    def log_weights(self) -> Float[Tensor, " m"]:
        """-age_decay times the age of each of `vectors()`: a column log-weight."""
        return self._joined(Queue.log_weights)

    def _joined(self, of: Callable[[Queue], Tensor]) -> Tensor:
        held = [of(queue) for queue in self._queues() if len(queue)]
        if not held:
            raise ValueError("queues: hold nothing yet; push a batch before asking for vectors")
        return torch.cat(held)

    def _queues(self) -> list[Queue]:
        return cast(list[Queue], list(self.queues))


def _everyones(
    dim: int, vectors: Tensor, ids: Tensor | None, labels: Tensor | None, codes: Tensor | None
) -> tuple[Tensor, ...]:
    """Vectors and their numbers, -1 where not given, of all processes."""
    numbers = {"ids": ids, "labels": labels, "codes": codes}
    checks.same_length(vectors=vectors, **{name: x for name, x in numbers.items() if x is not None})
    if vectors.shape[1:] != (dim,):
        raise ValueError(f"push: expected vectors of shape (n, {dim}), got {tuple(vectors.shape)}")
    unknown = torch.full((len(vectors),), -1, device=vectors.device)
    given = [unknown if x is None else x.to(unknown) for x in numbers.values()]
    sizes = processes.counts(vectors)
    return tuple(processes.gather(x, sizes=sizes) for x in (vectors.detach(), *given))
