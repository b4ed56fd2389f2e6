"""Queue: the newest embeddings of past steps, first in, first out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medgraph import checks


class Queue(nn.Module):
    """Ring of the last `size` vectors, with their example ids and ages. Starts empty; saved in checkpoints.

    A batch of any size may be pushed: what does not fit pushes the oldest vectors out. Nothing carries a gradient.
    Use as negatives [1] or to balance codes over more examples than a batch holds [2].

    [1] He et al., 2020, arXiv:1911.05722. [2] Caron et al., 2020, arXiv:2006.09882, Sec. 4.

    Args:
        size: Number of vectors kept; more are older and agree less with the present encoder.
        dim: Width of a vector.
        dtype: Storage type, "float32", "float16" or "bfloat16"; half precision halves the memory.

    Example:
        >>> queue = Queue(size=3, dim=1)
        >>> queue.push(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        >>> queue.vectors().flatten().tolist()
        [4.0, 3.0, 2.0]
    """

    _vectors: Tensor
    _ids: Tensor
    _pushed_at: Tensor
    _num_pushed: Tensor
    _num_pushes: Tensor

    def __init__(self, size: int, dim: int, dtype: str = "float32"):
        super().__init__()
        self.size = checks.at_least("size", size, 1)
        self.dim = checks.at_least("dim", dim, 1)
        self.dtype = checks.one_of("dtype", dtype, ("float32", "float16", "bfloat16"))
        self.register_buffer("_vectors", torch.zeros(size, dim, dtype=getattr(torch, dtype)))
        self.register_buffer("_ids", torch.full((size,), -1))
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
    def push(self, vectors: Float[Tensor, "n d"], ids: Int[Tensor, " n"] | None = None) -> None:
        """Add a batch; its last row counts as the newest. `ids` name the examples, -1 where not given."""
        if vectors.shape[1] != self.dim:
            raise ValueError(f"push: expected vectors of width {self.dim}, got {vectors.shape[1]}")
        n, kept = len(vectors), min(len(vectors), self.size)
        places = torch.arange(n - kept, n, device=self._vectors.device)
        places = (places + self._num_pushed) % self.size
        self._vectors[places] = vectors[n - kept :].to(self._vectors.dtype)
        self._ids[places] = -1 if ids is None else ids[n - kept :]
        self._num_pushes += 1
        self._pushed_at[places] = self._num_pushes
        self._num_pushed += n

    def vectors(self) -> Float[Tensor, "m d"]:
        """What is held (at most `size` rows), newest first."""
        return self._vectors[self._newest_first()]

    def ids(self) -> Int[Tensor, " m"]:
        """Example ids of `vectors()`; -1 where none was given."""
        return self._ids[self._newest_first()]

    def ages(self) -> Int[Tensor, " m"]:
        """How many pushes ago each of `vectors()` came; 0 for the last batch. Times -decay: a column log-weight."""
        return self._num_pushes - self._pushed_at[self._newest_first()]

    def _newest_first(self) -> Tensor:
        back = torch.arange(1, len(self) + 1, device=self._vectors.device)
        return (self._num_pushed - back) % self.size

    def extra_repr(self) -> str:
        return f"size={self.size}, dim={self.dim}, dtype={self.dtype}"
