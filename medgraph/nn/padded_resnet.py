"""MONAI's residual networks whose shortcuts have no weights, as MedicalNet's with 18 and 34 layers."""

from functools import partial
from typing import Any

from monai.networks.nets.resnet import ResNetBlock, ResNetBottleneck
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder


class PaddedResNetEncoder(ResNetEncoder):
    """As `resnet`, but a shortcut that changes its shape drops voxels and adds channels of zeros [1].

    That is option A of [1], shortcut type A of MONAI and of MedicalNet [2], whose weights for 18 and 34 layers need it.
    MONAI's own form lets no gradient through such a shortcut; this one does, and gives the same features.

    [1] He et al., 2016, arXiv:1512.03385, Sec. 3.3.
    [2] Chen et al., 2019, arXiv:1904.00625.

    Args:
        spec: Facts of the data, filled by the builder: channels and 2D or 3D.
        depth: 10, 18, 34, 50, 101, 152 or 200 layers.
        width: Channels of the first stage; the others have 2, 4 and 8 times as many (all times 4 from depth 50 on).
        stem: "small" is a 3-wide convolution of stride 2, for images under about 100 voxels; "imagenet" a 7-wide one
            of stride 2 and a max-pool, as MedicalNet has it.

    Attributes:
        out_dim: Width of the pooled features.
        pyramid_dims, pyramid_strides: Channels and stride of each map of `pyramid`, fine to coarse.
    """

    shortcut_type = "A"

    def __init__(self, spec: ImageSpec, depth: int = 18, width: int = 32, stem: str = "small"):
        super().__init__(spec, depth, width, stem)
        for block in self.network.modules():
            if isinstance(block, ResNetBlock | ResNetBottleneck) and isinstance(block.downsample, partial):
                told = block.downsample.keywords
                block.downsample = _Padded(told["planes"], told["stride"], spec.spatial_dims)


class _Padded(nn.Module):
    """Every `stride`-th voxel, and channels of zeros up to `num_channels`."""

    def __init__(self, num_channels: int, stride: int, spatial_dims: int):
        super().__init__()
        self.num_channels = num_channels
        self.kept: Any = (..., *[slice(None, None, stride)] * spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        x = x[self.kept]
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, self.num_channels - x.shape[1]))
