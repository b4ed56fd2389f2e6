"""Focal: cross-entropy that leaves easy voxels alone, beside the soft Dice."""

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import overlap
from medgraph.losses.dice import soft_dice_error
from medgraph.losses.loss import Loss


class Focal(Loss):
    """Focal loss [1], with soft Dice as in `dice_cross_entropy`.

    mean_i( -(1 - p_i[y_i])^gamma log p_i[y_i] )  +  dice_weight * mean_c( 1 - Dice_c )

    [1] Lin et al., 2017, arXiv:1708.02002, Eq. 4.

    Args:
        gamma: How little a voxel counts that is nearly right; 0 is the cross-entropy.
        dice_weight: Weight of the Dice term; 0 leaves the focal loss.
        include_background: Whether class 0 counts in the Dice term.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])  # two voxels, two classes
        >>> round(Focal(dice_weight=0.0)(logits, torch.tensor([[0, 1]])).item(), 4)
        0.0018
    """

    def __init__(self, gamma: float = 2.0, dice_weight: float = 1.0, include_background: bool = False):
        super().__init__()
        self.gamma = checks.not_negative("gamma", gamma)
        self.dice_weight = checks.not_negative("dice_weight", dice_weight)
        self.include_background = include_background

    def forward(self, logits: Float[Tensor, "n c *spatial"], labels: Int[Tensor, "n *spatial"]) -> Float[Tensor, ""]:
        counts = overlap.measure(logits, labels)
        log_p = counts.of_label()
        wrong = -log_p.expm1()  # 1 - p, exact also near p = 1
        focal = counts.mean(-(wrong.clamp_min(1e-12) ** self.gamma) * log_p)  # 1e-12: the power has a slope at 0
        return focal + self.dice_weight * soft_dice_error(counts, self.include_background)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, dice_weight={self.dice_weight}, include_background={self.include_background}"
