"""DiceCrossEntropy: segment by overlap per class and by cross-entropy per voxel."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class DiceCrossEntropy(nn.Module):
    """Soft Dice [1] plus cross-entropy, as usual in medical segmentation [2].

    mean_i(-log p_i[y_i])  +  dice_weight * mean_c [ 1 - 2 sum_i p_ic [y_i = c] / (sum_i p_ic + sum_i [y_i = c]) ]

    i runs over all voxels of the batch, c over the classes that occur in it: a class that no voxel has says nothing
    about overlap, and is left to the cross-entropy. Voxels labelled -100 are left out.

    [1] Milletari et al., 2016, arXiv:1606.04797, Sec. 3. [2] Isensee et al., 2021, doi:10.1038/s41592-020-01008-z.

    Args:
        dice_weight: Weight of the Dice term; more helps small structures. 0 leaves the cross-entropy.
        include_background: Whether class 0 counts in the Dice term; it is large, and hides the others.

    Example:
        >>> logits = 20.0 * F.one_hot(torch.tensor([[0, 1], [1, 0]]), 2).movedim(-1, 1).float()
        >>> round(DiceCrossEntropy()(logits, torch.tensor([[0, 1], [1, 0]])).item(), 4)
        0.0
    """

    def __init__(self, dice_weight: float = 1.0, include_background: bool = False):
        super().__init__()
        self.dice_weight = checks.not_negative("dice_weight", dice_weight)
        self.include_background = include_background

    def forward(self, logits: Float[Tensor, "n c *spatial"], labels: Int[Tensor, "n *spatial"]) -> Float[Tensor, ""]:
        num_classes = logits.shape[1]
        if num_classes < 2:
            raise ValueError(f"logits: expected 2 or more classes on axis 1, background included, got {num_classes}")
        known = labels != -100
        labels = labels.long()
        log_probabilities = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(dim=1)
        total = F.nll_loss(log_probabilities, labels, ignore_index=-100, reduction="sum")
        cross_entropy = total / known.sum().clamp_min(1)
        return cross_entropy + self.dice_weight * self._dice(log_probabilities.exp(), labels, known)

    def _dice(self, probabilities: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Mean of 1 - Dice over the classes that occur; 0 where none does."""
        truth = F.one_hot(labels.where(known, 0), probabilities.shape[1]).movedim(-1, 1) * known.unsqueeze(1)
        axes = [axis for axis in range(truth.ndim) if axis != 1]
        sizes = truth.sum(axes)  # (c,)
        overlap = (probabilities * truth).sum(axes)
        predicted = (probabilities * known.unsqueeze(1)).sum(axes)
        occurs = sizes > 0
        if not self.include_background:
            occurs[0] = False
        terms = 1 - 2 * overlap / (predicted + sizes.clamp_min(1))
        return (terms * occurs).sum() / occurs.sum().clamp_min(1)

    def extra_repr(self) -> str:
        return f"dice_weight={self.dice_weight}, include_background={self.include_background}"
