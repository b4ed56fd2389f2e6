"""MONAI's residual networks, in 2D and 3D, as encoders that can return their pyramid of maps."""

import torch
from jaxtyping import Float
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec

# Below it, torch 2.13 on CPU writes past the memory of channels-last maps: in the gradient of a stem for 2 to 4
# channels, and in that of a strided convolution 1 wide, as on shortcuts, of maps of 56 x 56 and larger.
_SAFE_WIDTH = 16

LAYERS: dict[int, tuple[type[ResNetBlock] | type[ResNetBottleneck], list[int]]] = {
    10: (ResNetBlock, [1, 1, 1, 1]),
    18: (ResNetBlock, [2, 2, 2, 2]),
    34: (ResNetBlock, [3, 4, 6, 3]),
    50: (ResNetBottleneck, [3, 4, 6, 3]),
    101: (ResNetBottleneck, [3, 4, 23, 3]),
    152: (ResNetBottleneck, [3, 8, 36, 3]),
    200: (ResNetBottleneck, [3, 24, 36, 3]),
}


class ResNetEncoder(nn.Module):
    """A residual network without classifier (He et al., 2016, arXiv:1512.03385), of one channel width to choose.

    Args:
        spec: Facts of the data, filled by the builder: channels and 2D or 3D.
        depth: 10, 18, 34, 50, 101, 152 or 200 layers.
        width: Channels of the first stage; the others have 2, 4 and 8 times as many (all times 4 from depth 50 on).
        stem: "small" is a 3-wide convolution of stride 2, for images under about 100 voxels; "imagenet" a 7-wide one
            of stride 2 and a max-pool.

    Attributes:
        out_dim: Width of the pooled features.
        pyramid_dims, pyramid_strides: Channels and stride of each map of `pyramid`, fine to coarse.
        shortcut_type: Where a shortcut has to change its shape: "B" convolves, as He et al. and torchvision do.
    """

    shortcut_type = "B"

    def __init__(self, spec: ImageSpec, depth: int = 18, width: int = 32, stem: str = "small"):
        super().__init__()
        block, layers = LAYERS[checks.one_of("depth", depth, (10, 18, 34, 50, 101, 152, 200))]
        widths = [checks.at_least("width", width, 1) * factor for factor in (1, 2, 4, 8)]
        is_small = checks.one_of("stem", stem, ("small", "imagenet")) == "small"
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels
        self.network = ResNet(
            block,
            layers,
            widths,
            spatial_dims=spec.spatial_dims,
            n_input_channels=spec.channels,
            conv1_t_size=3 if is_small else 7,
            conv1_t_stride=2,
            no_max_pool=is_small,
            feed_forward=False,
            shortcut_type=self.shortcut_type,
        )
        if spec.spatial_dims == 2 and width >= _SAFE_WIDTH:
            nn.utils.convert_conv2d_weight_memory_format(self.network, torch.channels_last)  # a sixth faster on CPUs
        first = 2 if is_small else 4
        self.pyramid_dims = tuple(w * block.expansion for w in widths)
        self.pyramid_strides = tuple(first * factor for factor in (1, 2, 4, 8))
        self.out_dim = self.pyramid_dims[-1]

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The maps of the four stages, fine to coarse, each (n, pyramid_dims[i], ...)."""
        net = self.network
        narrow = self.spatial_dims == 2 and net.conv1.out_channels < _SAFE_WIDTH
        x = net.conv1(x.contiguous() if narrow else x)
        x = net.act(net.bn1(x.contiguous() if narrow else x))  # an image of one channel has either layout
        if not net.no_max_pool:
            x = net.maxpool(x)
        maps = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Features: the mean over space of the coarsest map."""
        return self.pyramid(x)[-1].flatten(2).mean(dim=2)

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        net = self.network
        return [[net.conv1, net.bn1], *([stage] for stage in (net.layer1, net.layer2, net.layer3, net.layer4))]
