"""Ensemble: networks of one kind that were trained from different seeds, as one encoder."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_FACTS = ("spatial_dims", "in_channels", "takes_stacks", "takes_batches", "target_type", "pyramid_strides")


class Ensemble(nn.Module):
    """The vectors of several encoders side by side, over the root of their number [1].

    What one network owes to the draw of its first weights and of its views, the others do not share: a linear layer
    over their vectors averages it away. Distances keep their size: squared, they are means over the members. A train
    stage with `train.members` leaves one of these.

    [1] Lakshminarayanan et al., 2017, arXiv:1612.01474, for predictions.

    Args:
        encoders: The members, of one architecture.

    Attributes:
        out_dim: Sum over the members.
        pyramid_dims, pyramid_strides: Channels, summed over the members, and stride of each map, where they give maps.
        slice_encoder: The members' slice encoders as an ensemble, where they are encoders of volumes.
    """

    def __init__(self, encoders: Sequence[Any]):
        super().__init__()
        if not encoders:
            raise ValueError("encoders: expected at least one, got none")
        if len({(type(encoder), getattr(encoder, "pyramid_strides", None)) for encoder in encoders}) > 1:
            raise ValueError(f"encoders: expected one architecture, got {', '.join(map(_kind, encoders))}")
        self.encoders = nn.ModuleList(encoders)
        self.out_dim = sum(encoder.out_dim for encoder in encoders)
        for name in _FACTS:  # what readers of an encoder ask for
            if hasattr(encoders[0], name):
                setattr(self, name, getattr(encoders[0], name))
        if hasattr(encoders[0], "pyramid_dims"):
            levels = zip(*(encoder.pyramid_dims for encoder in encoders), strict=True)
            self.pyramid_dims = tuple(sum(dims) for dims in levels)

    @property
    def slice_encoder(self) -> "Ensemble":
        """The members' slice encoders joined."""
        return Ensemble([encoder.slice_encoder for encoder in self.encoders])

    def forward(self, x: Any) -> Tensor:
        """Features (n, out_dim) of images, volumes, or the targets of a graph."""
        return _beside([encoder(seen) for encoder, seen in self.each(x)])

    def each(self, x: Any) -> list[tuple[Any, Any]]:
        """Every member with the input as it sees it: a graph with masks of its own, all else as it is."""
        by_member = hasattr(x, "of_member")
        return [(encoder, x.of_member(k) if by_member else x) for k, encoder in enumerate(self.encoders)]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The members' maps side by side, fine to coarse, each (n, pyramid_dims[i], ...)."""
        members: Any = self.encoders
        levels = zip(*(encoder.pyramid(x) for encoder in members), strict=True)
        return [_beside(maps) for maps in levels]


def _beside(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts), dim=1) / math.sqrt(len(parts))


def _kind(encoder: Any) -> str:
    return type(encoder).__name__
