"""A U-Net's expanding path on any encoder with a pyramid, from MONAI's blocks."""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class UNetDecoder(nn.Module):
    """Upsample, join with the encoder's finer map, convolve twice; at last at the input's own size (Ronneberger, 2015).

    Args:
        pyramid_dims: Channels of the encoder's maps, fine to coarse.
        pyramid_strides: Their strides.
        spatial_dims: 2 or 3.
        num_classes: Channels of the logits.
        in_channels: Channels of the input image, which joins at full resolution.
        width: Channels at full resolution.
    """

    def __init__(
        self,
        pyramid_dims: Sequence[int],
        pyramid_strides: Sequence[int],
        spatial_dims: int,
        num_classes: int,
        in_channels: int,
        width: int = 16,
    ):
        super().__init__()
        checks.same_length(pyramid_dims=pyramid_dims, pyramid_strides=pyramid_strides)
        checks.one_of("spatial_dims", spatial_dims, (2, 3))
        checks.at_least("num_classes", num_classes, 2)
        checks.at_least("width", width, 1)
        self.mode = "bilinear" if spatial_dims == 2 else "trilinear"
        coarse_to_fine = list(reversed(pyramid_dims))
        joined = [*coarse_to_fine[1:], in_channels]
        out_dims = [*coarse_to_fine[1:], width]
        in_dims = [coarse_to_fine[0], *out_dims[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(spatial_dims, below + skip, out), _convolution(spatial_dims, out, out))
            for below, skip, out in zip(in_dims, joined, out_dims, strict=True)
        )
        self.classifier = Convolution(spatial_dims, width, num_classes, kernel_size=1, conv_only=True)
        self.layout = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)  # a quarter faster on CPUs

    def forward(self, x: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Logits (n, classes, *size) at the size of the input x (n, c, *size), odd sizes included."""
        y = maps[-1]
        for block, skip in zip(self.blocks, [*reversed(maps[:-1]), x], strict=True):
            y = F.interpolate(y, size=skip.shape[2:], mode=self.mode, align_corners=False)
            joined = torch.cat([y, skip], dim=1)  # an image of one channel has either layout, and cat takes the other
            if y.is_contiguous(memory_format=self.layout):
                joined = joined.contiguous(memory_format=self.layout)
            y = block(joined)
        return self.classifier(y)


def _convolution(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    return Convolution(spatial_dims, in_channels, out_channels, kernel_size=3, act="relu", norm="batch", bias=False)
