"""SwappedPrediction: predict the codes of one crop from every other crop (SwAV)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses.loss import Loss
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy


class SwappedPrediction(Loss):
    """SwAV's loss over crops [1]; with hard labels, DeepCluster-v2's without the crop that gave them.

    mean over assignment crops a, and over crops v != a, of  cross_entropy(scores_v / temperature, codes_a).

    The first crops are the assignment crops, one per entry of `codes`; small crops follow and are only predicted from.

    [1] Caron et al., 2020, arXiv:2006.09882, Eq. 1 and Sec. 3.2.

    Args:
        temperature: Divides the scores; smaller asks for crisper predictions.

    Example:
        >>> scores, codes = [torch.eye(3)] * 4, [torch.eye(3)] * 2
        >>> round(SwappedPrediction(temperature=0.1)(scores, codes).item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.cross_entropy = PrototypeCrossEntropy(temperature)

    def forward(
        self,
        scores: Sequence[Float[Tensor, "n k"]],
        codes: Sequence[Float[Tensor, "n k"]] | Sequence[Int[Tensor, " n"]],
    ) -> Float[Tensor, ""]:
        """Loss of a batch: scores of every crop, and codes (or labels) of the first ones, without gradient."""
        if len(scores) < 2 or not 1 <= len(codes) <= len(scores):
            raise ValueError(
                "expected scores of 2 or more crops and codes of 1 or more of them, "
                f"got scores: {len(scores)}, codes: {len(codes)}"
            )
        terms = [
            self.cross_entropy(crop_scores, crop_codes)
            for a, crop_codes in enumerate(codes)
            for v, crop_scores in enumerate(scores)
            if v != a
        ]
        return torch.stack(terms).mean()
