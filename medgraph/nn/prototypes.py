"""Unit rows that embeddings are scored against."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class Prototypes(nn.Module):
    """A linear map without bias whose rows have unit norm: scores(z) = P z (Caron et al., 2020, Sec. 3).

    Args:
        dim: Width of the embeddings.
        num_prototypes: Rows.
    """

    def __init__(self, dim: int, num_prototypes: int):
        super().__init__()
        checks.at_least("dim", dim, 1)
        checks.at_least("num_prototypes", num_prototypes, 2)
        self.weight = nn.Parameter(F.normalize(torch.randn(num_prototypes, dim), dim=1))

    @torch.no_grad()
    def normalize_(self) -> None:
        """Give every row unit norm again; call it before scoring, since an optimiser step changes norms."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def scores(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Inner product of each embedding with each prototype."""
        return embeddings @ self.weight.T
