"""Agreement of two groupings of the same examples."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


@torch.no_grad()
def normalized_mutual_information(first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mutual information over the mean of both entropies: 0 unrelated, 1 the same grouping up to names.

    0 where one of them has a single group: it then tells nothing about the other.

    Example:
        >>> normalized_mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([7, 7, 3, 3])).item()
        1.0
    """
    rows, a = first.unique(return_inverse=True)
    columns, b = second.unique(return_inverse=True)
    if len(rows) < 2 or len(columns) < 2:
        return torch.zeros((), device=first.device)
    table = torch.bincount(a * len(columns) + b, minlength=len(rows) * len(columns)).double() / len(first)
    table = table.view(len(rows), len(columns))
    entropies = [torch.special.entr(table.sum(dim=axis)).sum() for axis in (1, 0)]
    mutual = sum(entropies) - torch.special.entr(table).sum()
    return (2 * mutual / sum(entropies)).clamp(0, 1).float()
