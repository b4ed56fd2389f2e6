"""Tversky: overlap in which missing a voxel may cost more than finding one too many, beside the cross-entropy."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import overlap
from medgraph.losses.loss import Loss


class Tversky(Loss):
    """Tversky index per class [1], and cross-entropy.

    cross_entropy_weight * mean_i( -log p_i[y_i] )  +  mean_c [ 1 - TP_c / (TP_c + false_positive_weight FP_c
    + false_negative_weight FN_c) ]

    with soft counts over the batch and the classes that occur in it. Both weights 1/2 are soft Dice. Voxels labelled
    -100 are left out.

    [1] Salehi et al., 2017, arXiv:1706.05721, Eq. 4.

    Args:
        false_positive_weight: Cost of a voxel found that is none.
        false_negative_weight: Cost of a voxel missed; more finds more of small structures.
        cross_entropy_weight: Weight of the cross-entropy; 0 leaves the index.
        include_background: Whether class 0 counts in the index.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[9.0, 0.0], [0.0, 9.0]]])  # two voxels, two classes
        >>> round(Tversky()(logits, torch.tensor([[0, 1]])).item(), 4)
        0.0002
    """

    def __init__(
        self,
        false_positive_weight: float = 0.3,
        false_negative_weight: float = 0.7,
        cross_entropy_weight: float = 1.0,
        include_background: bool = False,
    ):
        super().__init__()
        self.false_positive_weight = checks.not_negative("false_positive_weight", false_positive_weight)
        self.false_negative_weight = checks.not_negative("false_negative_weight", false_negative_weight)
        self.cross_entropy_weight = checks.not_negative("cross_entropy_weight", cross_entropy_weight)
        self.include_background = include_background

    def forward(self, logits: Float[Tensor, "n c *spatial"], labels: Int[Tensor, "n *spatial"]) -> Float[Tensor, ""]:
        counts = overlap.measure(logits, labels)
        found, missed = counts.predicted - counts.overlap, counts.sizes - counts.overlap
        # a class of no voxel is not counted; its denominator must not be 0
        whole = counts.overlap + self.false_positive_weight * found + self.false_negative_weight * missed
        occurs = counts.counted(self.include_background)
        terms = 1 - counts.overlap / whole.where(occurs, 1).clamp_min(1e-12)  # all wrong at weight 0: 0 / 1e-12
        index = (terms * occurs).sum() / occurs.sum().clamp_min(1)
        return index + self.cross_entropy_weight * counts.cross_entropy()

    def extra_repr(self) -> str:
        return (
            f"false_positive_weight={self.false_positive_weight}, false_negative_weight={self.false_negative_weight}, "
            f"cross_entropy_weight={self.cross_entropy_weight}, include_background={self.include_background}"
        )
