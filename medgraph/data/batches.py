"""What a data set hands to a method or an evaluator: batches of slices, and whole labelled volumes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
    """Images with a class for each pixel.

    Attributes:
        ids: Global example ids, `(b,)` long.
        images: Prepared images, `(b, c, h, w)`.
        labels: Class indices, `(b, h, w)` long.
    """

    ids: Tensor
    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "LabelledImageBatch":
        """The same batch on another device."""
        return LabelledImageBatch(self.ids.to(device), self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class VolumeCase:
    """A whole labelled volume, as an evaluator needs it.

    Attributes:
        id: Name of the case.
        images: All its prepared slices, `(n, c, h, w)`.
        labels: Class indices on the native grid.
        record: How the slices were cut.
        spacing: Millimetres per voxel of the native grid.
        affine: Native voxel -> world, `(4, 4)`.
    """

    id: str
    images: Tensor
    labels: np.ndarray
    record: Planes
    spacing: tuple[float, float, float]
    affine: np.ndarray

    def to_native(self, label_slices: np.ndarray | Tensor) -> np.ndarray:
        """Labels of the slices `(n, h, w)` on the native grid of the volume; 0 outside the crop."""
        return self.record.to_native(label_slices)
