"""AttributeAlignment: examples with equal attributes lie together (supervised SepCLR)."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs, pairs
from medgraph.losses.loss import Loss
from medgraph.losses.pairs.lse import check_embeddings, refuse_not_finite
from medgraph.losses.pairs.terms import ExcludeSameId


class AttributeAlignment(Loss):
    """Mean squared distance of codes over pairs of examples, weighted by how equal their attribute is [1].

    sum_{i < j} w_ij |s_i - s_j|^2 / sum_{i < j} w_ij,  w_ij = exp(-(a_i - a_j)^2 / (2 bandwidth)), or 1 if a_i = a_j.

    Divided by the weights, not by the number of pairs as in [1], so that a rare value is pulled as strongly. Memory
    linear in n. No pair of any weight gives 0.

    [1] Louiset et al., 2024, arXiv:2402.11928, supervised variant.

    Args:
        bandwidth: Variance of the kernel on the attribute, scaled to [0, 1] first; 0 asks for equality.

    Example:
        >>> codes, attribute = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([1.0, 1.0, 0.0])
        >>> AttributeAlignment(bandwidth=0.0)(codes, attribute).item()
        4.0
    """

    def __init__(self, bandwidth: float = 0.025):
        super().__init__()
        self.bandwidth = checks.not_negative("bandwidth", bandwidth)

    def forward(self, salient: Float[Tensor, "n s"], attribute: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        check_embeddings("salient", salient)
        checks.same_length(salient=salient, attribute=attribute)
        refuse_not_finite("attribute", attribute[:, None])
        codes = salient.to(torch.promote_types(salient.dtype, torch.float32))
        term = self._term(attribute)
        ones = codes.new_ones(len(codes), 1)
        others = ExcludeSameId(torch.arange(len(codes), device=codes.device))  # "- 1" would round small weights off
        weights = pairs.pair_sum(ones, ones, phi="identity", terms=(term, others))
        total = weights.sum()
        if float(total.detach()) <= 0:
            inputs.warn_of_zero(f"all {len(codes)} examples have no other of like attribute")
            return codes[:0].sum()
        gaps = [
            pairs.pair_sum(torch.cat([x, ones], 1), torch.cat([ones, -x], 1), phi="square", terms=(term,)).sum()
            for x in codes.split(1, dim=1)  # sum_j w_ij (s_i - s_j)^2 of one dimension
        ]
        return torch.stack(gaps).sum() / total

    def _term(self, attribute: Tensor) -> pairs.terms.PairTerm:
        if self.bandwidth == 0:
            return pairs.terms.OnlyPositives(attribute.unique(return_inverse=True)[1])
        rate = 1 / (2 * self.bandwidth)
        return pairs.terms.LabelDistance(attribute, None, lambda distance: -rate * distance.square())

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}"
