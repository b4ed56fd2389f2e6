"""RankDivergence: predicted scores order a list as the true ones do."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.loss import Loss


class RankDivergence(Loss):
    """Divergence between the softmax of true ranks and the softmax of predictions, over one list.

    sum_i t_i (log t_i - log p_i),  t = softmax(rank(targets) / temperature),  p = softmax(predictions / temperature).

    Ranks run from 1 (smallest) to n; equal targets share the mean of their ranks. Gradients reach predictions alone.

    Args:
        temperature: Divides ranks and predictions; smaller cares about the top of the list only.

    Example:
        >>> round(RankDivergence()(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.9, 0.1, 0.5])).item(), 4)
        0.0
    """

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, predictions: Float[Tensor, " n"], targets: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        inputs.check_lists(predictions, targets)
        dtype = torch.promote_types(predictions.dtype, torch.float32)
        log_true = (average_ranks(targets).to(dtype) / self.temperature).log_softmax(dim=0)
        log_predicted = (predictions.to(dtype) / self.temperature).log_softmax(dim=0)
        return (log_true.exp() * (log_true - log_predicted)).sum()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


@torch.no_grad()
def average_ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks from 1 to n in float64; equal values share the mean of theirs."""
    _, position, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()  # rank of the last of each group of equal values
    return (last - (counts - 1) / 2)[position]
