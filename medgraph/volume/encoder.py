"""Volume encoder: slice encoder, tokens and slice transformer as one part that stages hand on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medgraph.data.spec import ImageSpec
from medgraph.volume.slice_attention import Attended
from medgraph.volume.slice_transformer import SliceTransformer
from medgraph.volume.tokens import TokenMap


class VolumeEncoder(nn.Module):
    """A volume as one vector: the mean over its contextual slice tokens [1].

    A stage on slices takes over `slice_encoder` alone, and a stage on volumes takes it from one on slices.

    [1] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        spec: Facts of the data, filled by the builder.
        slice_encoder: Gives the pyramid of a slice.
        attention: Attention along the slices.
        dim: Width of tokens and of the volume's vector.
        num_layers: Layers of the slice transformer; more mix slices that lie further apart.
        hidden_dim: Width of their feed-forward networks.
        dropout: Chance of dropping a channel while training.
        dropout_place: "branch" or "output", see `SliceTransformer`.
        position: What queries know of their place: "slice", "relative" or "none".
        repeat_last: Take the coarsest map twice into the token, as the authors' release does.
        tokens_by_batch: Standardise tokens by each batch while the slice encoder learns, see `TokenMap`.

    Attributes:
        out_dim: Width of the volume's vector.
        takes_stacks: It looks at all slices of a volume at once.
    """

    takes_stacks = True

    def __init__(
        self,
        spec: ImageSpec,
        slice_encoder: Any,
        attention: Any,
        dim: int = 128,
        num_layers: int = 2,
        hidden_dim: int = 256,
        dropout: float = 0.1,
        dropout_place: str = "branch",
        position: str = "slice",
        repeat_last: bool = False,
        tokens_by_batch: bool = False,
    ):
        super().__init__()
        self.slice_encoder = slice_encoder
        self.tokens = TokenMap(slice_encoder.pyramid_dims, dim, repeat_last, tokens_by_batch)
        self.transformer = SliceTransformer(dim, attention, num_layers, hidden_dim, dropout, dropout_place, position)
        self.out_dim = dim
        self.spatial_dims, self.in_channels = spec.spatial_dims, spec.channels

    def forward(self, volumes: Tensor, valid: Tensor | None = None) -> Tensor:
        """Vectors (b, d), not normalised, of volumes (b, n, c, h, w); `valid` (b, n) is False on padding."""
        tokens = self.slice_tokens(volumes, valid)
        valid = torch.ones(volumes.shape[:2], dtype=torch.bool, device=volumes.device) if valid is None else valid
        return mean_slices(self.transformer(tokens, valid), valid)

    def slice_tokens(self, volumes: Tensor, valid: Tensor | None) -> Tensor:
        """Tokens (b, n, d) of volumes (b, n, c, h, w), 0 on padding, which is never encoded; None pads nothing."""
        if valid is None:  # no choice of slices by value: torch.export follows this way for any number of them
            slices = volumes.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            return self.tokens(self.slice_encoder.pyramid(slices)).unflatten(0, volumes.shape[:2])
        return self.placed_tokens(self.slice_maps(volumes, valid), valid)

    def slice_maps(self, volumes: Tensor, valid: Tensor) -> list[Tensor]:
        """Pyramid of all valid slices in a row, each map (t, c_k, ...), of volumes (b, n, c, h, w)."""
        return self.slice_encoder.pyramid(volumes[valid].contiguous(memory_format=torch.channels_last))

    def placed_tokens(self, maps: Sequence[Tensor], valid: Tensor) -> Tensor:
        """Tokens (b, n, d) of such a pyramid, each at its slice; 0 on padding."""
        known = self.tokens(maps)
        tokens = known.new_zeros(*valid.shape, known.shape[1])
        return tokens.index_put((valid,), known)

    def levels(self) -> list[list[nn.Module]]:
        """Its modules from the image on, see `nn.layerwise`."""
        return [*self.slice_encoder.levels(), [self.tokens], *([layer] for layer in self.transformer.layers)]

    def attended(self, volumes: Tensor, valid: Tensor) -> list[Attended]:
        """What each slice looks at, layer by layer."""
        return self.transformer.attended(self.slice_tokens(volumes, valid), valid)


def mean_slices(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid slices, (b, n, d) -> (b, d)."""
    return (tokens * valid[..., None]).sum(dim=1) / valid.sum(dim=1).clamp_min(1)[:, None]
