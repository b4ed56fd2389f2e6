"""MONAI's Swin Transformer, in 2D and 3D, as an encoder: the contracting path of SwinUNETR."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from medgraph import checks
from medgraph.data.spec import ImageSpec


class SwinEncoder(nn.Module):
    """Attention in shifted windows at strides 2 to 32 (Liu et al., 2021, arXiv:2103.14030; Hatamizadeh et al., 2022).

    Args:
        spec: Facts of the data, filled by the builder: channels and 2D or 3D.
        width: Channels of the finest map, doubled at each level; a multiple of the first of num_heads.
        depths: Blocks of each of the four stages; every second one shifts its windows.
        num_heads: Heads of attention of each stage.
        window: Side of a window in tokens; larger ones see further and cost more.
        drop_path: Chance of skipping a block while training, rising from 0 to this at the last block.

    Attributes:
        out_dim: Width of the pooled features.
        pyramid_dims, pyramid_strides: Channels and stride of each map of `pyramid`, fine to coarse.
        exports_one_size: torch.export decides once where its windows are padded, so its program knows one size alone.
    """

    exports_one_size = True

    def __init__(
        self,
        spec: ImageSpec,
        width: int = 24,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.0,
    ):
        super().__init__()
        if len(depths) != 4 or len(num_heads) != 4:
            raise ValueError(f"depths, num_heads: expected four stages each, got {len(depths)} and {len(num_heads)}")
        for stage, heads in enumerate(num_heads):
            checks.at_least("depths", depths[stage], 1)
            if width * 2**stage % checks.at_least("num_heads", heads, 1):
                raise ValueError(
                    f"num_heads: {heads} heads do not divide the {width * 2**stage} channels of stage {stage}"
                )
        axes = spec.spatial_dims
        self.spatial_dims, self.in_channels = axes, spec.channels
        with _LinspaceOnCPU():
            self.network = SwinTransformer(
                in_chans=spec.channels,
                embed_dim=checks.at_least("width", width, 1),
                window_size=(checks.at_least("window", window, 2),) * axes,
                patch_size=(2,) * axes,
                depths=depths,
                num_heads=num_heads,
                drop_path_rate=checks.between("drop_path", drop_path, 0.0, 0.9),
                spatial_dims=axes,
            )
        self.pyramid_dims = tuple(width * 2**level for level in range(5))
        self.pyramid_strides = tuple(2 ** (level + 1) for level in range(5))
        self.out_dim = self.pyramid_dims[-1]

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The embedded patches and the maps of the four stages, each normalised, (n, pyramid_dims[i], ...)."""
        return self.network(x)

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Features: the mean over space of the coarsest map."""
        return self.pyramid(x)[-1].flatten(2).mean(dim=2)

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        net = self.network
        return [[net.patch_embed], [net.layers1], [net.layers2], [net.layers3], [net.layers4]]


class _LinspaceOnCPU(TorchFunctionMode):
    """MONAI reads numbers off a tensor while it builds, which the meta device of a dry build cannot do."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "cpu"} if func is torch.linspace else kwargs))
