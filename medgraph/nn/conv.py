"""A few plain convolutions, in 2D and 3D, as an encoder: small, quick, for small images."""

from jaxtyping import Float
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec


class ConvEncoder(nn.Module):
    """Convolutions 3 wide, each with batch norm and ReLU, of width w, 2w, 4w ...; from the second on of stride 2.

    Far less work than a `resnet`, and less capacity to know training images by heart.

    Args:
        spec: Facts of the data, filled by the builder: channels and 2D or 3D.
        width: Channels of the first convolution; doubled by each.
        depth: Number of convolutions.
        stride: Of the first convolution.

    Attributes:
        out_dim: Width of the pooled features.
        pyramid_dims, pyramid_strides: Channels and stride of each map of `pyramid`, fine to coarse.
    """

    def __init__(self, spec: ImageSpec, width: int = 16, depth: int = 3, stride: int = 1):
        super().__init__()
        checks.at_least("width", width, 1)
        checks.at_least("depth", depth, 2)
        checks.one_of("stride", stride, (1, 2))
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels
        self.pyramid_dims = tuple(width * 2**level for level in range(depth))
        self.pyramid_strides = tuple(stride * 2**level for level in range(depth))
        self.blocks = nn.ModuleList(
            Convolution(spec.spatial_dims, before, after, strides=step, act="RELU", norm="BATCH", bias=False)
            for before, after, step in zip(
                (spec.channels, *self.pyramid_dims), self.pyramid_dims, (stride, *[2] * (depth - 1)), strict=False
            )
        )
        self.out_dim = self.pyramid_dims[-1]

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The maps of all convolutions, fine to coarse, each (n, pyramid_dims[i], ...)."""
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Features: the mean over space of the coarsest map."""
        return self.pyramid(x)[-1].flatten(2).mean(dim=2)

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        return [[block] for block in self.blocks]
