"""Inputs of every loss of the catalogue that is no `ContrastiveLoss`, by argument, for contract tests to spoil."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medgraph import catalogue


@dataclass(frozen=True)
class Plain:
    """How to call one loss: arguments by name, which of them learn, and which can hold NaN."""

    name: str
    inputs: Callable[[int, torch.Generator], dict[str, Tensor]]
    learning: tuple[str, ...]
    finite: tuple[str, ...]
    same_width: bool = False
    call: Callable[[torch.nn.Module, dict[str, Tensor]], Tensor] = lambda loss, given: loss(**given)

    def make(self, **settings: Any) -> torch.nn.Module:
        """The loss; an independence term is connected to codes of widths 4 and 3."""
        torch.manual_seed(7)
        loss: Any = catalogue.find("losses", self.name)(**settings)
        if hasattr(loss, "connect"):
            loss.connect(4, 3)
        return loss


def _codes(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    return {"common": torch.randn(n, 4, generator=rng), "salient": torch.randn(n, 3, generator=rng)}


def _grouped(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    return _codes(n, rng) | {"is_target": torch.arange(n) % 2 == 0}


def _salient(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    return {"salient": torch.randn(n, 3, generator=rng), "is_target": torch.arange(n) % 2 == 0}


def _pair(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    first, second = torch.randn(2, n, 4, generator=rng)
    return {"first": first, "second": second}


def _lists(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    return {"predictions": torch.randn(n, generator=rng), "targets": torch.randn(n, generator=rng)}


def _voxels(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    return {"logits": torch.randn(n, 3, 2, 5, generator=rng), "labels": torch.randint(3, (n, 2, 5), generator=rng)}


def _crops(n: int, rng: torch.Generator) -> dict[str, Tensor]:
    first, second = torch.rand(2, n, 4, generator=rng)
    return {"first": first, "second": second, "codes": torch.rand(n, 4, generator=rng).softmax(dim=1)}


_INDEPENDENCE = ("kernel_joint_entropy", "mmd", "hsic", "vclub", "vl1out", "vub", "total_correlation")
_SEGMENTATION = ("dice_cross_entropy", "focal", "tversky", "generalized_dice")
_ALL = [
    *(Plain(name, _pair, ("first", "second"), ("first", "second"), same_width=True)
      for name in ("alignment", "alignment_uniformity")),
    Plain("uniformity", lambda n, rng: {"embeddings": torch.randn(n, 4, generator=rng)},
          ("embeddings",), ("embeddings",)),
    Plain("joint_entropy", _codes, ("common", "salient"), ("common", "salient")),
    *(Plain(name, _grouped, ("common", "salient"), ("common", "salient")) for name in _INDEPENDENCE),
    *(Plain(name, _salient, ("salient",), ("salient",)) for name in ("salient_uniformity", "collapse")),
    Plain("attribute_alignment",
          lambda n, rng: {"salient": torch.randn(n, 3, generator=rng), "attribute": torch.rand(n, generator=rng)},
          ("salient",), ("salient", "attribute")),
    *(Plain(name, _lists, ("predictions",), ("predictions", "targets")) for name in ("pearson", "rank_divergence")),
    Plain("swapped_prediction", _crops, ("first", "second"), ("first", "second"), same_width=True,
          call=lambda loss, given: loss([given["first"], given["second"]], [given["codes"], given["codes"]])),
    *(Plain(name, _voxels, ("logits",), ("logits",)) for name in _SEGMENTATION),
]  # fmt: skip
PLAIN = {case.name: case for case in _ALL}
