"""AlignmentUniformity: both views of an example lie together, and examples spread over the sphere."""

from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses.alignment import Alignment
from medgraph.losses.anchors import paired
from medgraph.losses.loss import Loss
from medgraph.losses.uniformity import Uniformity


class AlignmentUniformity(Loss):
    """Alignment of two views and uniformity of each, on unit embeddings [1].

    alignment(z, z') + uniformity_weight (uniformity(z) + uniformity(z')) / 2,  z = unit(first), z' = unit(second)

    What SepCLR asks of its common code, and nothing else: with `simclr` the peer that has one code and no salient one.
    Memory linear in n. Fewer than two examples have no uniformity, no example gives 0.

    [1] Wang and Isola, 2020, arXiv:2005.10242, Eqs. 4 and 5; weight and kernel of Louiset et al., 2024.

    Args:
        bandwidth: Variance of the kernel; smaller feels only near neighbors, and pulls views harder.
        uniformity_weight: Strength of uniformity against alignment; 0 lets all embeddings collapse.
        form: "pair" or "row", see `Uniformity`.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> views = torch.eye(3)
        >>> round(AlignmentUniformity(uniformity_weight=2.0)(views, views).item(), 4)
        -4.0
    """

    def __init__(
        self, bandwidth: float = 0.5, uniformity_weight: float = 2.0, form: str = "pair", dist: str | None = None
    ):
        super().__init__()
        self.uniformity_weight = checks.not_negative("uniformity_weight", uniformity_weight)
        self.alignment = Alignment(bandwidth, dist=dist)
        self.uniformity = Uniformity(bandwidth, form, dist=dist)

    def forward(self, first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        first, second = paired(first=first, second=second)
        spread = (self.uniformity(first) + self.uniformity(second)) / 2
        return self.alignment(first, second) + self.uniformity_weight * spread
