"""Two encoders without a shared parameter: one for common, one for salient features."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec
from medgraph.nn.headed import HeadedEncoder


class Parts(NamedTuple):
    """Features of both encoders by name, as their order is easily confused."""

    common: Tensor
    salient: Tensor


class CommonSalientEncoder(nn.Module):
    """A common and a salient encoder side by side, each ending in a linear layer of its own (Louiset et al., 2024).

    No trunk is shared: salient losses reach the common encoder through the independence term alone.

    Args:
        spec: Facts of the data, filled by the builder.
        common_encoder: Encoder of what both groups share.
        salient_encoder: Encoder of what only the target group has.
        common_dim: Width of the common features.
        salient_dim: Width of the salient features; kernel estimates degrade as it grows.

    Attributes:
        out_dim: Width of both together.
        pyramid_dims, pyramid_strides: Those of the common encoder.
    """

    def __init__(
        self,
        spec: ImageSpec,
        common_encoder: Any,
        salient_encoder: Any,
        common_dim: int = 32,
        salient_dim: int = 32,
    ):
        super().__init__()
        if {id(p) for p in common_encoder.parameters()} & {id(p) for p in salient_encoder.parameters()}:
            raise ValueError(
                "salient_encoder: shares parameters with common_encoder, expected two encoders of their own"
            )
        checks.at_least("common_dim", common_dim, 1)
        checks.at_least("salient_dim", salient_dim, 1)
        self.common = HeadedEncoder(spec, common_encoder, common_dim)
        self.salient = HeadedEncoder(spec, salient_encoder, salient_dim)
        self.common_dim, self.salient_dim = common_dim, salient_dim
        self.out_dim = common_dim + salient_dim
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels
        self.pyramid_dims, self.pyramid_strides = self.common.pyramid_dims, self.common.pyramid_strides

    def parts(self, x: Float[Tensor, "n c *size"]) -> Parts:
        """Common features (n, common_dim) and salient features (n, salient_dim)."""
        return Parts(common=self.common(x), salient=self.salient(x))

    def chunked(self) -> tuple[nn.Module, ...]:
        """What `train.grad_cache_chunks` cuts: each encoder by itself, so that neither sends the other a gradient."""
        return self.common, self.salient

    def pyramid(self, x: Float[Tensor, "n c *size"]) -> list[Tensor]:
        """The common encoder's maps, fine to coarse."""
        return self.common.pyramid(x)

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n d"]:
        """Common and salient features side by side."""
        return torch.cat(self.parts(x), dim=1)
