"""PrototypeCrossEntropy: predict each example's prototype from its scores."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class PrototypeCrossEntropy(nn.Module):
    """Cross-entropy of scores against soft codes (SwAV [1]) or hard labels (DeepCluster-v2 [1]).

    mean_i [ logsumexp_k(s_ik / temperature) - sum_k code_ik s_ik / temperature ],  label y = the code that is 1 at y.

    Rows labelled -100 are left out; if no row is left the loss is 0. Targets carry no gradient. With all scores equal
    the loss is log k: a loss that stays there has collapsed.

    [1] Caron et al., 2020, arXiv:2006.09882, Eq. 2 and appendix on DeepCluster-v2.

    Args:
        temperature: Divides the scores; smaller asks for crisper predictions.

    Example:
        >>> loss = PrototypeCrossEntropy(temperature=0.1)(torch.eye(4), torch.arange(4))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)

    def forward(
        self, scores: Float[Tensor, "n k"], targets: Float[Tensor, "n k"] | Int[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        scale = 1 / self.temperature
        wide = scores if scores.dtype == torch.float64 else scores.float()
        if targets.ndim == 1:
            total = F.cross_entropy(scale * wide, targets.long(), ignore_index=-100, reduction="sum")
            return total / (targets != -100).sum().clamp_min(1)
        log_predictions = (scale * wide).log_softmax(dim=1)
        return -(targets.detach().to(wide.dtype) * log_predictions).sum() / max(len(scores), 1)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
