"""Attention along the slices of a volume: each slice gathers from others of the same volume.

Four kinds, made by name: `ms1d` (few learned places on several scales), `dat1d` (learned places shared by all slices),
`full` (every slice), `none` (itself alone). The sequence is the slice axis; token coordinates are channels. All take
any number of slices and volumes of different length in one batch.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks


@dataclass(frozen=True, eq=False)
class Attended:
    """What each slice looked at.

    Attributes:
        positions: Fractional slice numbers, `(b, n, heads, k)`; -0.5 to n - 0.5 lies inside the volume.
        weights: Their weights, `(b, n, heads, k)`, summing to 1 over k.
        of_slices: The same as a weight of each slice, `(b, n, heads, n)`: what the values of a head are multiplied by.
            Sums to less than 1 where places lie outside the volume.
    """

    positions: Tensor
    weights: Tensor
    of_slices: Tensor


@dataclass(frozen=True)
class MultiScale:
    """Deformable attention on the slice axis at several scales: Deformable-DETR's form [1] reduced to 1D.

    Each slice i looks at `num_points` places a head and scale, at learned offsets from its own place, and reads there
    by linear interpolation, 0 outside:  out_i = W_O concat_h sum_lp weight_ihlp value_lh(place_ihlp).
    Cost is linear in the number of slices.

    [1] Zhu et al., 2021, arXiv:2010.04159, Eq. 3.

    Args:
        num_heads: Heads, each with its own places and its share of the channels.
        num_levels: Scales; the l-th is the mean over 2^(l-1) slices. 1 looks at single slices only.
        num_points: Places a slice looks at, for each head and scale.
    """

    num_heads: int = 4
    num_levels: int = 2
    num_points: int = 4

    def __post_init__(self) -> None:
        checks.at_least("num_heads", self.num_heads, 1)
        checks.at_least("num_levels", self.num_levels, 1)
        checks.at_least("num_points", self.num_points, 1)

    def make(self, dim: int) -> nn.Module:
        """The attention for tokens of width `dim`."""
        return MultiScaleAttention(dim, self.num_heads, self.num_levels, self.num_points)


@dataclass(frozen=True)
class SharedPoints:
    """Attention of every slice to the same few learned places, as deformable attention transformers do [1], in 1D.

    One place for four slices: offsets from a regular grid come from the queries by a depthwise convolution, and reach
    2 slices at most. A small network adds a bias by signed log distance.

    [1] Xia et al., 2022, arXiv:2201.00520.

    Args:
        num_heads: Heads.
        head_dim: Channels of a head.
    """

    num_heads: int = 8
    head_dim: int = 64

    def __post_init__(self) -> None:
        checks.at_least("num_heads", self.num_heads, 1)
        checks.at_least("head_dim", self.head_dim, 1)

    def make(self, dim: int) -> nn.Module:
        """The attention for tokens of width `dim`."""
        return SharedPointAttention(dim, self.num_heads, self.head_dim)


@dataclass(frozen=True)
class Full:
    """Every slice attends to every slice of its volume (Vaswani et al., 2017). Cost grows with the square of slices.

    Args:
        num_heads: Heads.
    """

    num_heads: int = 4

    def __post_init__(self) -> None:
        checks.at_least("num_heads", self.num_heads, 1)

    def make(self, dim: int) -> nn.Module:
        """The attention for tokens of width `dim`."""
        return FullAttention(dim, self.num_heads)


class Identity:
    """No attention: each slice keeps to itself. The ablation that shows what looking at other slices is worth."""

    def __repr__(self) -> str:
        return "Identity()"

    def make(self, dim: int) -> nn.Module:
        """The identity, whatever the width."""
        return NoAttention()


class MultiScaleAttention(nn.Module):
    """See `MultiScale`. Starts with equal weights on places 1, 2, ... slices ahead (even heads) or behind (odd)."""

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int):
        super().__init__()
        _divides(dim, num_heads)
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        count = num_heads * num_levels * num_points
        self.offsets, self.weights = nn.Linear(dim, count), nn.Linear(dim, count)
        self.values, self.output = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.values.weight)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        sides = torch.tensor([1.0 if head % 2 == 0 else -1.0 for head in range(num_heads)])
        reach = torch.arange(1.0, num_points + 1)
        with torch.no_grad():
            start = (sides[:, None, None] * reach).expand(num_heads, num_levels, num_points)
            self.offsets.bias.copy_(start.reshape(-1))

    def forward(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Queries (with position) and tokens (b, n, d), valid (b, n), padding last -> (b, n, d)."""
        places, weights = self._places(queries, valid)
        heads: Any = 0
        for level in range(self.num_levels):
            pooled, lengths = pool_slices(tokens, valid, 2**level)
            values = self.values(pooled).unflatten(2, (self.num_heads, -1))  # (b, n_l, h, d / h)
            read = interpolate(values, places[:, :, :, level], lengths)  # (b, n, h, p, d / h)
            heads = heads + (weights[:, :, :, level, :, None] * read).sum(dim=3)
        return self.output(heads.flatten(2))

    def attended(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Attended:
        """Places in slices of the volume, whatever their scale, and weights."""
        places, weights = self._places(queries, valid)  # (b, n, h, l, p)
        scale = torch.tensor([2.0**level for level in range(self.num_levels)]).to(places)[:, None]
        of_slices: Any = 0
        for level in range(self.num_levels):
            pooled, lengths = pool_slices(_each_slice(tokens), valid, 2**level)  # (b, n_l, n)
            shares = pooled[:, :, None].expand(-1, -1, self.num_heads, -1)
            read = interpolate(shares, places[:, :, :, level], lengths)  # (b, n, h, p, n)
            of_slices = of_slices + (weights[:, :, :, level, :, None] * read).sum(dim=3)
        return Attended(((places + 0.5) * scale - 0.5).flatten(3), weights.flatten(3), of_slices)

    def _places(self, queries: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Fractional slice numbers on each scale, and weights: (b, n, heads, levels, points)."""
        shape = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.offsets(queries).unflatten(2, shape)
        weights = self.weights(queries).unflatten(2, (self.num_heads, -1)).softmax(dim=3).unflatten(3, shape[1:])
        lengths = valid.sum(dim=1)[:, None].to(queries)  # (b, 1)
        own = torch.arange(queries.shape[1]).to(queries) + 0.5
        scale = torch.tensor([2**level for level in range(self.num_levels)]).to(queries)
        on_level = torch.ceil(lengths / scale)  # (b, l), n_l
        reference = own[:, None] / lengths[:, :, None] * on_level[:, None]  # (b, n, l), r_i n_l
        return reference[:, :, None, :, None] + offsets - 0.5, weights


class SharedPointAttention(nn.Module):
    """See `SharedPoints`."""

    def __init__(self, dim: int, num_heads: int, head_dim: int):
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads, self.head_dim = num_heads, head_dim
        self.queries, self.values = nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.keys = nn.Linear(dim, inner, bias=False)  # a shift of all keys changes no weight
        self.output = nn.Linear(inner, dim)
        self.spread = nn.Conv1d(inner, inner, kernel_size=6, stride=4, padding=1, groups=inner)
        self.offset = nn.Conv1d(inner, 1, kernel_size=1, bias=False)
        self.bias = nn.Sequential(nn.Linear(1, 32), nn.GELU(), nn.Linear(32, num_heads, bias=False))

    def forward(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Queries (with position) and tokens (b, n, d), valid (b, n), padding last -> (b, n, d)."""
        q, places, num_places = self._places(queries, valid)
        read = self._read(tokens, places, valid)
        weights = self._weights(q, read, places, num_places)
        values = self.values(read).unflatten(2, (self.num_heads, -1))
        return self.output(torch.einsum("bnhm,bmhc->bnhc", weights, values).flatten(2))

    def attended(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Attended:
        """The shared places, the same for every slice, and their weights."""
        q, places, num_places = self._places(queries, valid)
        weights = self._weights(q, self._read(tokens, places, valid), places, num_places)
        of_slices = torch.einsum("bnhm,bmj->bnhj", weights, self._read(_each_slice(tokens), places, valid))
        return Attended(places[:, None, None].expand_as(weights), weights, of_slices)

    def _read(self, tokens: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """Tokens (b, n, d) at the places (b, m): (b, m, d)."""
        known = (tokens * valid[..., None])[:, :, None]  # (b, n, 1, d)
        return interpolate(known, places[:, None, None].expand(-1, 1, 1, -1), valid.sum(dim=1))[:, 0, 0]

    def _places(self, queries: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Projected queries (b, n, h c), places (b, m) in slices and how many of them each volume has (b,)."""
        q = self.queries(queries) * valid[..., None]
        count = math.ceil(q.shape[1] / 4)
        padded = F.pad(q.transpose(1, 2), (0, 4 * count - q.shape[1]))
        offsets = 2 * torch.tanh(self.offset(F.gelu(self.spread(padded)))[:, 0])  # (b, m)
        lengths = valid.sum(dim=1)
        num_places = torch.ceil(lengths / 4)
        regular = (torch.arange(count).to(q) + 0.5) * (lengths / num_places)[:, None] - 0.5
        return q, regular + offsets, num_places

    def _weights(self, q: Tensor, read: Tensor, places: Tensor, num_places: Tensor) -> Tensor:
        """(b, n, heads, m), 0 on places that a shorter volume does not have."""
        q, keys = (x.unflatten(2, (self.num_heads, -1)) for x in (q, self.keys(read)))
        logits = torch.einsum("bnhc,bmhc->bnhm", q, keys) / math.sqrt(self.head_dim)
        apart = torch.arange(q.shape[1]).to(places)[:, None] - places[:, None]  # (b, n, m)
        bias = self.bias((apart.sign() * apart.abs().log1p())[..., None])  # (b, n, m, h)
        missing = torch.arange(places.shape[1]).to(num_places) >= num_places[:, None]  # (b, m)
        return (logits + bias.transpose(2, 3)).masked_fill(missing[:, None, None], -math.inf).softmax(dim=3)


class FullAttention(nn.Module):
    """See `Full`."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        _divides(dim, num_heads)
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Queries (with position) and tokens (b, n, d), valid (b, n), padding last -> (b, n, d)."""
        return self.attention(queries, queries, tokens, key_padding_mask=~valid, need_weights=False)[0]

    def attended(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Attended:
        """All slices, with their weights."""
        weights = self.attention(
            queries, queries, tokens, key_padding_mask=~valid, need_weights=True, average_attn_weights=False
        )[1].transpose(1, 2)  # (b, n, h, n)
        return Attended(torch.arange(weights.shape[3]).to(weights).expand_as(weights), weights, weights)


class NoAttention(nn.Module):
    """See `Identity`."""

    def forward(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """The tokens."""
        return tokens

    def attended(self, queries: Tensor, tokens: Tensor, valid: Tensor) -> Attended:
        """Each slice itself."""
        own = torch.arange(queries.shape[1]).to(queries)[None, :, None, None].expand(len(queries), -1, 1, 1)
        return Attended(own, torch.ones_like(own), _each_slice(tokens)[:, :, None])


def pool_slices(tokens: Tensor, valid: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Means over `width` neighbouring valid slices, (b, ceil(n / width), d), 0 on padding; and each volume's count."""
    lengths = torch.ceil(valid.sum(dim=1) / width).long()
    padding = -tokens.shape[1] % width
    known = F.pad(tokens * valid[..., None], (0, 0, 0, padding)).unflatten(1, (-1, width)).sum(dim=2)
    counts = F.pad(valid, (0, padding)).unflatten(1, (-1, width)).sum(dim=2)
    return known / counts.clamp_min(1)[..., None], lengths


def interpolate(values: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
    """Values at fractional slice numbers, linearly between neighbours, 0 outside.

    Args:
        values: `(b, n, h, c)`, h heads.
        places: `(b, q, h, p)`, fractional numbers of slices.
        lengths: Slices of each volume, `(b,)`; those beyond count as outside.

    Returns:
        `(b, q, h, p, c)`.
    """
    b, n, h, c = values.shape
    low = places.detach().floor()
    share = places - low
    table = values.transpose(1, 2).reshape(b * h * n, c)  # rows by (volume, head, slice)
    start = (torch.arange(b, device=values.device)[:, None] * h + torch.arange(h, device=values.device)) * n
    read: Any = 0
    for number, weight in ((low, 1 - share), (low + 1, share)):
        inside = (number >= 0) & (number < lengths[:, None, None, None])
        row = start[:, None, :, None] + number.clamp(0, n - 1).long()
        read = read + (weight * inside)[..., None] * table[row]
    return read


def _each_slice(tokens: Tensor) -> Tensor:
    """The identity (b, n, n): tokens in which each slice has a channel of its own, to follow where it goes."""
    n = tokens.shape[1]
    return torch.eye(n, dtype=tokens.dtype, device=tokens.device).expand(len(tokens), n, n)


def _divides(dim: int, num_heads: int) -> None:
    if dim % num_heads:
        raise ValueError(f"num_heads: {num_heads} heads do not divide the token width {dim}.")
