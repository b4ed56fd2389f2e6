"""What a data set hands to a method or an evaluator: batches of slices, and whole labelled volumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph.data.blocks import Block
from medgraph.data.planes import Planes


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Unlabelled images.

    Attributes:
        ids: Global example ids, `(b,)` long.
        images: Prepared images, `(b, c, h, w)`.
        sources: Index of the source of each example, `(b,)` long.
    """

    ids: Tensor
    images: Tensor
    sources: Tensor

    def to(self, device: torch.device | str) -> "ImageBatch":
        """The same batch on another device."""
        return ImageBatch(self.ids.to(device), self.images.to(device), self.sources.to(device))


@dataclass(frozen=True, eq=False)
class LabelledImageBatch:
    """Images, or patches of volumes, with a class for each pixel.

    Attributes:
        ids: Global example ids, `(b,)` long.
        images: Prepared images, `(b, c, *size)`.
        labels: Class indices, `(b, *size)` long.
    """

    ids: Tensor
    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "LabelledImageBatch":
        """The same batch on another device."""
        return LabelledImageBatch(self.ids.to(device), self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class LabelledStackBatch:
    """Stacks of neighbouring slices with a class for each pixel.

    Attributes:
        ids: Global ids of the stacks, `(b,)` long.
        images: Prepared slices, `(b, n, c, h, w)`.
        labels: Class indices, `(b, n, h, w)` long.
    """

    ids: Tensor
    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "LabelledStackBatch":
        """The same batch on another device."""
        return LabelledStackBatch(self.ids.to(device), self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class GroupedImageBatch:
    """Images or volumes of a background and a target group.

    Attributes:
        ids: Global example ids, `(b,)` long.
        images: Prepared images, `(b, c, *size)`.
        is_target: Whether each example is of the target group, `(b,)` bool.
        attributes: What is known about each example, `(b, k)` float; NaN where it is not known.
    """

    ids: Tensor
    images: Tensor
    is_target: Tensor
    attributes: Tensor

    def to(self, device: torch.device | str) -> "GroupedImageBatch":
        """The same batch on another device."""
        moved = (x.to(device) for x in (self.ids, self.images, self.is_target, self.attributes))
        return GroupedImageBatch(*moved)


@dataclass(frozen=True, eq=False)
class StackBatch:
    """Unlabelled volumes as stacks of slices, padded to the longest of the batch.

    Attributes:
        ids: Global ids of the volumes, `(b,)` long.
        slices: Prepared slices, `(b, n, c, h, w)`, 0 on padding, which comes last.
        valid: False on padding, `(b, n)`.
        numbers: Global ids of the slices, -1 on padding, `(b, n)` long.
        sources: Index of the source of each volume, `(b,)` long.
    """

    ids: Tensor
    slices: Tensor
    valid: Tensor
    numbers: Tensor
    sources: Tensor

    def to(self, device: torch.device | str) -> "StackBatch":
        """The same batch on another device."""
        tensors = (self.ids, self.slices, self.valid, self.numbers, self.sources)
        return StackBatch(*(tensor.to(device) for tensor in tensors))


@dataclass(frozen=True, eq=False)
class IdBatch:
    """Examples of which nothing but the id is needed.

    Attributes:
        ids: Global example ids, `(b,)` long.
    """

    ids: Tensor

    def to(self, device: torch.device | str) -> "IdBatch":
        """The same batch on another device."""
        return IdBatch(self.ids.to(device))


class Ids:
    """The ids of a data set's examples, as a data set: nothing else is read.

    Args:
        dataset: Has `ids` (n,).
    """

    def __init__(self, dataset: Any):
        self.ids: Tensor = dataset.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> IdBatch:
        return IdBatch(self.ids[torch.as_tensor(indices, dtype=torch.long)])


@dataclass(frozen=True, eq=False)
class ImageStackBatch:
    """Images and volumes of one step; either may be absent.

    Attributes:
        images: Images and single slices.
        volumes: Volumes.
    """

    images: ImageBatch | None
    volumes: StackBatch | None

    def to(self, device: torch.device | str) -> "ImageStackBatch":
        """The same batch on another device."""
        return ImageStackBatch(self.images and self.images.to(device), self.volumes and self.volumes.to(device))


@dataclass(frozen=True, eq=False)
class VolumeCase:
    """A whole labelled volume, as an evaluator needs it.

    Attributes:
        id: Name of the case.
        images: All its prepared slices, `(n, c, h, w)`, or the prepared volume, `(1, c, d, h, w)`.
        labels: Class indices on the native grid.
        record: How it was prepared.
        spacing: Millimetres per voxel of the native grid.
        affine: Native voxel -> world, `(4, 4)`.
        unit: Of the spacing: "mm", or "px" for images, which know no millimetres.
    """

    id: str
    images: Tensor
    labels: np.ndarray
    record: Planes | Block
    spacing: tuple[float, float, float]
    affine: np.ndarray
    unit: str = "mm"

    def to_native(self, label_slices: np.ndarray | Tensor) -> np.ndarray:
        """Labels of the images `(n, *size)` on the native grid of the volume; 0 outside the crop."""
        return self.record.to_native(label_slices)
