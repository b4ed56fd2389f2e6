"""Bank: the last embedding of every example, by id."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from medgraph import checks, processes
from medgraph.clustering.kmeans import spherical_kmeans
from medgraph.losses.pairs.lse import refuse_not_finite


class Bank(nn.Module):
    """One vector per training example, written at its id; clustered once per epoch by DeepCluster-v2 [1].

    Starts with no valid vector, never with random ones; saved in checkpoints. Nothing carries a gradient.
    Every process writes the rows of all processes, so that their banks stay equal.

    [1] Caron et al., 2020, arXiv:2006.09882, appendix.

    Args:
        num_examples: Number of examples; ids run from 0 to one less.
        dim: Width of a vector.
        dtype: Storage type, "float32", "float16" or "bfloat16"; half precision halves the memory.

    Example:
        >>> bank = Bank(num_examples=3, dim=2)
        >>> bank.write(torch.tensor([2]), torch.tensor([[0.5, 1.0]]))
        >>> bank.valid.tolist(), bank.vectors(torch.tensor([2])).tolist()
        ([False, False, True], [[0.5, 1.0]])
    """

    valid: Bool[Tensor, " num_examples"]
    _vectors: Tensor

    def __init__(self, num_examples: int, dim: int, dtype: str = "float32"):
        super().__init__()
        self.num_examples = checks.at_least("num_examples", num_examples, 1)
        self.dim = checks.at_least("dim", dim, 1)
        self.dtype = checks.one_of("dtype", dtype, ("float32", "float16", "bfloat16"))
        self.register_buffer("_vectors", torch.zeros(num_examples, dim, dtype=getattr(torch, dtype)))
        self.register_buffer("valid", torch.zeros(num_examples, dtype=torch.bool))

    @torch.no_grad()
    def write(self, ids: Int[Tensor, " n"], vectors: Float[Tensor, "n d"]) -> None:
        """Replace the vectors of `ids`; of an id that comes twice, the last one stays.

        Raises:
            ValueError: An id or a vector does not fit, or a vector is not finite in the type of the storage.
        """
        self._check(ids)
        checks.same_length(ids=ids, vectors=vectors)
        if vectors.shape[1:] != (self.dim,):
            raise ValueError(f"write: expected vectors of shape (n, {self.dim}), got {tuple(vectors.shape)}")
        refuse_not_finite("vectors", vectors.to(self._vectors.dtype))
        ids, vectors = processes.gather(ids), processes.gather(vectors.detach())
        unique, position = ids.unique(return_inverse=True)
        order = torch.arange(len(ids), device=ids.device)
        last = torch.zeros_like(unique, dtype=torch.long).scatter_reduce_(0, position, order, "amax")
        self._vectors[unique] = vectors[last].to(self._vectors.dtype)
        self.valid[unique] = True

    def vectors(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Vectors of `ids`. Raises ValueError if one of them was never written."""
        self._check(ids)
        missing = ids[~self.valid[ids]]
        if len(missing):
            raise ValueError(f"bank: {len(missing)} of {len(ids)} ids were never written, the first is {missing[0]}")
        return self._vectors[ids]

    def cluster(
        self, k: int, iterations: int = 10, *, rng: torch.Generator, empty: str = "keep"
    ) -> tuple[Int[Tensor, " num_examples"], Float[Tensor, "k d"]]:
        """Spherical k-means of the valid vectors: a label per id, -100 for ids never written, and the centroids."""
        if not self.valid.any():
            raise ValueError("bank: holds nothing yet; write vectors before clustering")
        labels = torch.full((self.num_examples,), -100, device=self._vectors.device)
        rows = self.valid.nonzero().flatten()
        labels[rows], centroids = spherical_kmeans(self._vectors[rows], k, iterations, rng=rng, empty=empty)
        return labels, centroids

    def _check(self, ids: Tensor) -> None:
        if len(ids) and (ids.min() < 0 or ids.max() >= self.num_examples):
            raise ValueError(
                f"ids: expected 0 to {self.num_examples - 1}, got {int(ids.min())} to {int(ids.max())}. "
                "Ids must be global over all sources."
            )

    def extra_repr(self) -> str:
        return f"num_examples={self.num_examples}, dim={self.dim}, dtype={self.dtype}"
