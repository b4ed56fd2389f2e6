"""The contracting path of MONAI's SegResNet, in 2D and 3D, as an encoder."""

from jaxtyping import Float
from monai.networks.nets.segresnet_ds import SegResEncoder
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec


class SegResNetEncoder(nn.Module):
    """Residual blocks at full, half, quarter ... resolution (Myronenko, 2018, arXiv:1810.11654).

    Its finest map has the input's own size: more detail than a `resnet`, and several times its work.

    Args:
        spec: Facts of the data, filled by the builder: channels and 2D or 3D.
        width: Channels at full resolution; doubled at each level.
        blocks: Residual blocks of each level; as many levels.

    Attributes:
        out_dim: Width of the pooled features.
        pyramid_dims, pyramid_strides: Channels and stride of each map of `pyramid`, fine to coarse.
    """

    def __init__(self, spec: ImageSpec, width: int = 16, blocks: tuple[int, ...] = (1, 2, 2, 4)):
        super().__init__()
        checks.at_least("width", width, 1)
        checks.at_least("blocks: length", len(blocks), 2)
        counts = tuple(checks.at_least("blocks", count, 1) for count in blocks)
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels
        self.network = SegResEncoder(
            spatial_dims=spec.spatial_dims, init_filters=width, in_channels=spec.channels, blocks_down=counts
        )
        self.pyramid_strides = tuple(2**level for level in range(len(counts)))
        self.pyramid_dims = tuple(width * stride for stride in self.pyramid_strides)
        self.out_dim = self.pyramid_dims[-1]

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The maps of all levels, fine to coarse, each (n, pyramid_dims[i], ...)."""
        return self.network(x)

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Features: the mean over space of the coarsest map."""
        return self.pyramid(x)[-1].flatten(2).mean(dim=2)

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        return [[self.network.conv_init], *([level] for level in self.network.layers)]
