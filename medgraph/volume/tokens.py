"""Tokens: the pooled pyramid of a slice as one vector, what the slice transformer reads."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


class TokenMap(nn.Module):
    """token = W concat_k unit(mean over space of map_k) + b, then standardised by stored statistics.

    The statistics are those of `fit_`, and do nothing before it. Map and statistics are part of the encoder's
    checkpoint: a stage that starts from it sees the same tokens.

    Args:
        pyramid_dims: Channels of the slice encoder's maps, fine to coarse.
        dim: Width of a token.
        repeat_last: Take the coarsest map twice, as the authors' release does.
        batch_norm: While training, standardise once more by each batch, for stages in which the slice encoder learns:
            its maps move away from stored statistics, and what all tokens share drowns what they tell and their places.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pyramid_dims: Sequence[int], dim: int, repeat_last: bool = False, batch_norm: bool = False):
        super().__init__()
        self.repeat_last = repeat_last
        width = sum(pyramid_dims) + (pyramid_dims[-1] if repeat_last else 0)
        self.linear = nn.Linear(width, checks.at_least("dim", dim, 1))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.norm = nn.BatchNorm1d(dim, affine=False) if batch_norm else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Tokens (n, dim) of the maps (n, c_k, ...), fine to coarse."""
        pooled = [F.normalize(m.flatten(2).mean(dim=2), dim=1) for m in maps]
        pooled += pooled[-1:] if self.repeat_last else []
        tokens = (self.linear(torch.cat(pooled, dim=1)) - self.mean) / self.std
        return tokens if self.norm is None else self.norm(tokens)

    @torch.no_grad()
    def fit_(self, tokens: Tensor) -> None:
        """Standardise each channel so that these tokens (n, dim), made in evaluation, get mean 0 and deviation 1."""
        raw = self.raw(tokens)
        self.mean.copy_(raw.mean(dim=0))
        # a channel that does not vary keeps its scale
        std = raw.std(dim=0, correction=0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
        if self.norm is not None:
            self.norm.reset_running_stats()

    def raw(self, tokens: Tensor) -> Tensor:
        """Tokens (..., dim) made in evaluation as they were before they were standardised."""
        mean, std = self._statistics()
        return tokens * std + mean

    def standardised(self, raw: Tensor) -> Tensor:
        """The other way round: raw tokens (..., dim) as they are in evaluation."""
        mean, std = self._statistics()
        return (raw - mean) / std

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (dim,) that evaluation takes out, the stored ones and those of the batch norm together."""
        if self.norm is None or self.norm.running_mean is None or self.norm.running_var is None:
            return self.mean, self.std
        deviation = (self.norm.running_var + self.norm.eps).sqrt()
        return self.mean + self.std * self.norm.running_mean, self.std * deviation
