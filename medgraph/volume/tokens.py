"""Tokens: the pooled pyramid of a slice as one vector, what the slice transformer reads."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks, processes

_MOMENTUM, _FLOOR = 0.1, 1e-5  # as of torch's batch norm


class TokenMap(nn.Module):
    """token = W concat_k unit(mean over space of map_k) + b, then standardised by stored statistics.

    The statistics are those of `fit_`, and do nothing before it, or those of the batches of a training. Map and
    statistics are part of the encoder's checkpoint: a stage that starts from it sees the same tokens.

    Args:
        pyramid_dims: Channels of the slice encoder's maps, fine to coarse.
        dim: Width of a token.
        repeat_last: Take the coarsest map twice, as the authors' release does.
        by_batch: While training, standardise by the batch, and let the stored statistics follow: for stages in which
            the slice encoder learns, and moves away from statistics that stay. What all tokens share would else drown
            what tells them apart, and their places.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pyramid_dims: Sequence[int], dim: int, repeat_last: bool = False, by_batch: bool = False):
        super().__init__()
        self.repeat_last, self.by_batch = repeat_last, by_batch
        width = sum(pyramid_dims) + (pyramid_dims[-1] if repeat_last else 0)
        self.linear = nn.Linear(width, checks.at_least("dim", dim, 1))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Tokens (n, dim) of the maps (n, c_k, ...), fine to coarse."""
        pooled = [F.normalize(m.flatten(2).mean(dim=2), dim=1) for m in maps]
        pooled += pooled[-1:] if self.repeat_last else []
        raw = self.linear(torch.cat(pooled, dim=1))
        return self._normed(raw) if self.by_batch and self.training else (raw - self.mean) / self.std

    @torch.no_grad()
    def fit_(self, tokens: Tensor) -> None:
        """Standardise each channel so that these tokens (n, dim), made by this map, get mean 0 and deviation 1."""
        raw = tokens * self.std + self.mean
        self.mean.copy_(raw.mean(dim=0))
        # a channel that does not vary keeps its scale
        std = raw.std(dim=0, correction=0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def _normed(self, raw: Tensor) -> Tensor:
        """Standardised by the mean and deviation over the rows of all processes, as a batch norm does."""
        moved = raw - self.mean  # sums of what is near 0 lose no digits
        count = processes.total(raw.new_tensor(float(len(raw))))
        mean = processes.total(moved.sum(dim=0)) / count
        centred = moved - mean
        variance = processes.total(centred.square().sum(dim=0)) / count
        with torch.no_grad():
            self.mean.add_(mean, alpha=_MOMENTUM)
            self.std.copy_(self.std.square().lerp(variance + _FLOOR, _MOMENTUM).sqrt())
        return centred / (variance + _FLOOR).sqrt()
