"""Two views of a batch of volumes, slice by slice in correspondence."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medgraph.data.batches import StackBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step


@dataclass(frozen=True, eq=False)
class VolumeViews:
    """Two views of volumes; slice i of both is the same slice of the volume.

    Attributes:
        ids: Global ids of the volumes, `(b,)`.
        views: `(2, b, n, c, h, w)`, 0 on padding.
        valid: False on padding, which comes last, `(b, n)`.
        numbers: Global ids of the slices, -1 on padding, `(b, n)`.
        index: Number of each slice in its volume, `(b, n)`.
        sources: Index of the source of each volume, `(b,)`.
    """

    ids: Tensor
    views: Tensor
    valid: Tensor
    numbers: Tensor
    index: Tensor
    sources: Tensor

    def flat(self) -> tuple[Tensor, Tensor]:
        """Both views in one row, first views first: (2 b, n, c, h, w), and their validity (2 b, n)."""
        return self.views.flatten(0, 1), self.valid.repeat(2, 1)


def make_views(transform: Any, batch: StackBatch, step: Step) -> VolumeViews:
    """Two views of a batch, drawn by `transform` (`stack_views`) from the seed, step and ids."""
    record = transform.draw(step.seed, step.number, batch.ids, batch.valid.sum(dim=1))
    views, valid, index = transform.apply(batch.slices, batch.valid, record)
    known = batch.numbers.gather(1, index.clamp_max(batch.numbers.shape[1] - 1))
    return VolumeViews(batch.ids, torch.stack(views), valid, torch.where(valid, known, -1), index, batch.sources)


def require_slices(spec: ImageSpec, transform: Any) -> int:
    """Fewest slices of a view. Raises ValueError where the data holds no volumes, or some too short for the window."""
    if not spec.num_volumes:
        raise ValueError("spec: the data hands out no volumes; expected the data `stacks`, or one that holds it.")
    if not getattr(transform, "takes_stacks", False):
        raise ValueError(
            f"views: {type(transform).__name__} are for single images or volumes, expected views of stacks such as "
            "stack_views."
        )
    fewest = spec.num_slices[0]
    if fewest < transform.span and not transform.allow_short:
        raise ValueError(
            f"{transform.num_slices} slices with stride {transform.stride} span {transform.span}, but the shortest "
            f"training volume has {fewest}. Lower num_slices or stride, or set allow_short."
        )
    if transform.num_slices is None:
        return max(1, fewest // transform.stride)  # the latest start leaves so many
    return min(transform.num_slices, math.ceil(fewest / transform.stride))  # a short volume is shown from its start
