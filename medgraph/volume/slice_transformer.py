"""Slice transformer: tokens of a volume's slices become contextual ones."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.volume.slice_attention import Attended


class SliceTransformer(nn.Module):
    """Layers of attention along the slices and a feed-forward network, each added to its input and normalised [1].

    a = LN(x + drop(attention(x + position, x)));  y = LN(a + drop(feed_forward(a))).
    Takes any number of slices.

    [1] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        dim: Width of the tokens.
        attention: Makes the attention of each layer, e.g. `ms1d`.
        num_layers: Layers.
        hidden_dim: Width of the feed-forward network.
        dropout: Chance of dropping a channel while training.
        dropout_place: "branch" drops before the addition; "output" after the norm, as the authors' release does.
        position: "slice" adds sines of the slice's number to the queries, "relative" of its share of the volume,
            "none" nothing.
    """

    def __init__(
        self,
        dim: int,
        attention: Any,
        num_layers: int = 2,
        hidden_dim: int = 256,
        dropout: float = 0.1,
        dropout_place: str = "branch",
        position: str = "slice",
    ):
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.dropout_place = checks.one_of("dropout_place", dropout_place, ("branch", "output"))
        self.position = checks.one_of("position", position, ("slice", "relative", "none"))
        self.layers = nn.ModuleList(
            _Layer(dim, attention.make(dim), hidden_dim, dropout, dropout_place == "branch")
            for _ in range(checks.at_least("num_layers", num_layers, 1))
        )

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Contextual tokens (b, n, d) of tokens (b, n, d); `valid` (b, n) is False on padding, which comes last."""
        valid = _all_valid(tokens) if valid is None else valid
        position = self._position(tokens, valid)
        for layer in self.layers:
            tokens = layer(tokens, position, valid)
        return tokens

    @torch.no_grad()
    def attended(self, tokens: Tensor, valid: Tensor | None = None) -> list[Attended]:
        """What each slice looks at in each layer."""
        valid = _all_valid(tokens) if valid is None else valid
        position = self._position(tokens, valid)
        found = []
        layer: Any
        for layer in self.layers:
            found.append(layer.attention.attended(tokens + position, tokens, valid))
            tokens = layer(tokens, position, valid)
        return found

    def _position(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """(b or 1, n, d)."""
        if self.position == "none":
            return torch.zeros_like(tokens[:1, :, :])
        number = torch.arange(tokens.shape[1]).to(tokens)[None]
        if self.position == "relative":
            number = 100 * (number + 0.5) / valid.sum(dim=1)[:, None].to(tokens)
        return sines(number, self.dim)


class _Layer(nn.Module):
    def __init__(self, dim: int, attention: nn.Module, hidden_dim: int, dropout: float, on_branch: bool):
        super().__init__()
        self.attention = attention
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.dropout = nn.Dropout(checks.between("dropout", dropout, 0.0, 0.99))
        self.on_branch = on_branch

    def forward(self, x: Tensor, position: Tensor, valid: Tensor) -> Tensor:
        x = self._join(x, self.attention(x + position, x, valid), self.norms[0])
        return self._join(x, self.feed_forward(x), self.norms[1])

    def _join(self, x: Tensor, branch: Tensor, norm: nn.Module) -> Tensor:
        return norm(x + self.dropout(branch)) if self.on_branch else self.dropout(norm(x + branch))


def sines(number: Tensor, dim: int) -> Tensor:
    """Sines and cosines of numbers (b, n) at `dim` // 2 frequencies, (b, n, dim) (Vaswani et al., 2017, Sec. 3.5)."""
    half = math.ceil(dim / 2)
    frequency = torch.exp(torch.arange(half).to(number) * (-math.log(10_000) / half))
    angle = number[..., None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[..., :dim]


def _all_valid(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
