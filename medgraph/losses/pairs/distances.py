"""Functions of a distance of labels, for `LabelDistance`: named, so that the fused kernel knows them too."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medgraph import checks


@dataclass(frozen=True)
class LogDistance:
    """log(1 + distance): a pair counts 1 + distance times, so that labels far apart weigh more."""

    settings: ClassVar = ()

    def __call__(self, distance: Tensor) -> Tensor:
        """The log-weights of a tile of distances."""
        return torch.log1p(distance)


@dataclass(frozen=True)
class GaussianKernel:
    """-distance^2 / (2 bandwidth^2): labels close together weigh more. Args: bandwidth, in units of the labels."""

    settings: ClassVar = ("bandwidth",)
    bandwidth: int | float

    def __post_init__(self):
        checks.positive("bandwidth", self.bandwidth)

    def __call__(self, distance: Tensor) -> Tensor:
        """The log-weights of a tile of distances."""
        return -(distance**2) / (2 * self.bandwidth**2)


@dataclass(frozen=True)
class MinimalGap:
    """Keep pairs at least `gap` apart, with `keep_same` also those at distance 0 (a slice and its own target)."""

    settings: ClassVar = ("gap", "keep_same")
    gap: int | float
    keep_same: bool = False

    def __post_init__(self):
        checks.positive("gap", self.gap)

    def __call__(self, distance: Tensor) -> Tensor:
        """True where a pair stays."""
        keep = distance >= self.gap
        return keep | (distance == 0) if self.keep_same else keep
