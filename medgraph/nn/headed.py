"""An encoder with a linear layer on top, for features of a chosen width."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec


class HeadedEncoder(nn.Module):
    """An encoder's features through one linear layer without activation; its maps stay as they are.

    Args:
        spec: Facts of the data, filled by the builder.
        inner_encoder: Encoder below the layer.
        out_dim: Width of the features.

    Attributes:
        pyramid_dims, pyramid_strides: Those of the inner encoder.
    """

    def __init__(self, spec: ImageSpec, inner_encoder: Any, out_dim: int = 32):
        super().__init__()
        self.out_dim = checks.at_least("out_dim", out_dim, 1)
        self.inner_encoder = inner_encoder
        self.head = nn.Linear(inner_encoder.out_dim, out_dim)
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels
        self.pyramid_dims, self.pyramid_strides = inner_encoder.pyramid_dims, inner_encoder.pyramid_strides

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The inner encoder's maps, fine to coarse."""
        return self.inner_encoder.pyramid(x)

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Features."""
        return self.head(self.inner_encoder(x))

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        return [*self.inner_encoder.levels(), [self.head]]
