"""PrototypeCrossEntropy: predict each example's prototype from its scores."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses.anchors import ContrastiveLoss
from medgraph.losses.pairs.lse import check_embeddings, refuse_not_finite


class PrototypeCrossEntropy(ContrastiveLoss):
    """Cross-entropy of scores against soft codes (SwAV [1]) or hard labels (DeepCluster-v2 [1]).

    mean_i [ logsumexp_k(s_ik / temperature) - sum_k code_ik s_ik / temperature ],  label y = the code that is 1 at y.

    Rows labelled -100 are left out; if no row is left the loss is 0. Targets carry no gradient. With all scores equal
    the loss is log k: a loss that stays there has collapsed.

    [1] Caron et al., 2020, arXiv:2006.09882, Eq. 2 and appendix on DeepCluster-v2.

    Args:
        temperature: Divides the scores; smaller asks for crisper predictions.
        reduction: "mean" or "sum" over the labelled rows, or "none": one value each, 0 where the label is -100.

    Example:
        >>> loss = PrototypeCrossEntropy(temperature=0.1)(torch.eye(4), torch.arange(4))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "mean"):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(
        self, scores: Float[Tensor, "n k"], targets: Float[Tensor, "n k"] | Int[Tensor, " n"]
    ) -> Float[Tensor, "..."]:
        check_embeddings("scores", scores)
        checks.same_length(scores=scores, targets=targets)
        logits = scores.to(torch.promote_types(scores.dtype, torch.float32)) / self.temperature
        if targets.ndim == 1:
            _check_labels(targets, scores.shape[1])
            loss = F.cross_entropy(logits, targets.long(), ignore_index=-100, reduction="none")
            return self.reduce(loss, targets != -100, "label")
        if targets.shape != scores.shape:
            raise ValueError(
                f"targets: expected shape {tuple(scores.shape)}, that of the scores, got {(*targets.shape,)}"
            )
        refuse_not_finite("targets", targets)
        loss = -(targets.detach().to(logits) * logits.log_softmax(dim=1)).sum(dim=1)
        return self.reduce(loss, None, "code")

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def _check_labels(labels: Tensor, num_prototypes: int) -> None:
    if labels.is_floating_point():
        raise TypeError(f"targets: expected whole numbers as labels, or codes (n, k), got {labels.dtype} (n,)")
    if torch.compiler.is_compiling():
        return  # a graph cannot ask
    unknown = (labels != -100) & ((labels < 0) | (labels >= num_prototypes))
    if unknown.any():
        raise ValueError(
            f"targets: expected prototypes 0 to {num_prototypes - 1} or -100, got {int(labels[unknown][0])}"
        )
