"""GeneralizedDice: one overlap of all classes, the small ones weighing like the large, beside the cross-entropy."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import overlap
from medgraph.losses.loss import Loss


class GeneralizedDice(Loss):
    """Generalised soft Dice [1], and cross-entropy.

    cross_entropy_weight * mean_i( -log p_i[y_i] )  +  1 - 2 sum_c w_c overlap_c / sum_c w_c (predicted_c + size_c),
    w_c = 1 / size_c^2

    with soft counts over the batch and the classes that occur in it. Voxels labelled -100 are left out.

    [1] Sudre et al., 2017, arXiv:1707.03237, Sec. 2.1.

    Args:
        cross_entropy_weight: Weight of the cross-entropy; 0 leaves the overlap.
        include_background: Whether class 0 counts in the overlap.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[9.0, 0.0], [0.0, 9.0]]])  # two voxels, two classes
        >>> round(GeneralizedDice()(logits, torch.tensor([[0, 1]])).item(), 4)
        0.0002
    """

    def __init__(self, cross_entropy_weight: float = 1.0, include_background: bool = False):
        super().__init__()
        self.cross_entropy_weight = checks.not_negative("cross_entropy_weight", cross_entropy_weight)
        self.include_background = include_background

    def forward(self, logits: Float[Tensor, "n c *spatial"], labels: Int[Tensor, "n *spatial"]) -> Float[Tensor, ""]:
        counts = overlap.measure(logits, labels)
        occurs = counts.counted(self.include_background)
        sizes = counts.sizes.clamp_min(1).to(counts.overlap)
        weights = occurs / sizes**2
        shared = (weights * counts.overlap).sum()
        whole = (weights * (counts.predicted + sizes)).sum()
        error = (1 - 2 * shared / whole.where(occurs.any(), 1)) * occurs.any()
        return error + self.cross_entropy_weight * counts.cross_entropy()

    def extra_repr(self) -> str:
        return f"cross_entropy_weight={self.cross_entropy_weight}, include_background={self.include_background}"
