"""MeanNormalizedNegatives: each query's own key against the average of the other keys."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import pairs


class MeanNormalizedNegatives(nn.Module):
    """Contrastive loss whose value does not depend on the number of negatives.

    mean_i softplus( log mean_{j != i} exp(s_ij / temperature) - s_ii / temperature ),  s = cosine.

    With all scores equal the loss is log 2, for every batch size. Fewer than two examples give 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.

    Example:
        >>> round(MeanNormalizedNegatives(temperature=1.0)(torch.eye(3), torch.eye(3)).item(), 4)
        0.3133
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
        queries, keys = F.normalize(queries.to(dtype), dim=1), F.normalize(keys.to(dtype), dim=1)
        if len(queries) < 2:
            return (queries.sum() + keys.sum()) * 0
        scale = 1 / self.temperature
        positive = scale * (queries * keys).sum(dim=1)  # (n,), the logit of each query's own key
        not_own = pairs.terms.ExcludeSameId(torch.arange(len(queries), device=queries.device))
        negative = pairs.pair_lse(queries, keys, scale=scale, terms=(not_own,))[0] - math.log(len(queries) - 1)
        return F.softplus(negative - positive).mean()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
