"""DiceCrossEntropy: segment by overlap per class and by cross-entropy per voxel."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import overlap
from medgraph.losses.loss import Loss
from medgraph.losses.overlap import Overlap


class DiceCrossEntropy(Loss):
    """Soft Dice [1] plus cross-entropy, as usual in medical segmentation [2].

    mean_i(-log p_i[y_i])  +  dice_weight * mean_c [ 1 - 2 sum_i p_ic [y_i = c] / (sum_i p_ic + sum_i [y_i = c]) ]

    i runs over all voxels of the batch, c over the classes that occur in it: a class that no voxel has says nothing
    about overlap, and is left to the cross-entropy. Voxels labelled -100 are left out.

    [1] Milletari et al., 2016, arXiv:1606.04797, Sec. 3. [2] Isensee et al., 2021, doi:10.1038/s41592-020-01008-z.

    Args:
        dice_weight: Weight of the Dice term; more helps small structures. 0 leaves the cross-entropy.
        include_background: Whether class 0 counts in the Dice term; it is large, and hides the others.

    Example:
        >>> import torch
        >>> from torch.nn import functional as F
        >>> logits = 20.0 * F.one_hot(torch.tensor([[0, 1], [1, 0]]), 2).movedim(-1, 1).float()
        >>> round(DiceCrossEntropy()(logits, torch.tensor([[0, 1], [1, 0]])).item(), 4)
        0.0
    """

    def __init__(self, dice_weight: float = 1.0, include_background: bool = False):
        super().__init__()
        self.dice_weight = checks.not_negative("dice_weight", dice_weight)
        self.include_background = include_background

    def forward(self, logits: Float[Tensor, "n c *spatial"], labels: Int[Tensor, "n *spatial"]) -> Float[Tensor, ""]:
        counts = overlap.measure(logits, labels)
        return counts.cross_entropy() + self.dice_weight * soft_dice_error(counts, self.include_background)

    def extra_repr(self) -> str:
        return f"dice_weight={self.dice_weight}, include_background={self.include_background}"


def soft_dice_error(counts: Overlap, include_background: bool) -> Tensor:
    """Mean of 1 - soft Dice over the classes that occur; 0 where none does."""
    occurs = counts.counted(include_background)
    terms = 1 - 2 * counts.overlap / (counts.predicted + counts.sizes.clamp_min(1))
    return (terms * occurs).sum() / occurs.sum().clamp_min(1)
