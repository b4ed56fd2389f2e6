"""New files, prepared as the files of a training were."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medgraph.data import formats, planes
from medgraph.data.blocks import Block
from medgraph.data.formats import CaseFile
from medgraph.data.nifti import Grid
from medgraph.data.planes import Planes
from medgraph.data.volumes import VolumeCache, prepare
from medgraph.errors import DataError


@dataclass(frozen=True, eq=False)
class NewCase:
    """A case without labels, as a model needs it, and the way back.

    Attributes:
        file: Where it was read from.
        images: All its prepared slices `(n, c, h, w)`, or the prepared volume, `(1, c, d, h, w)`.
        record: How it was prepared.
    """

    file: CaseFile
    images: Tensor
    record: Planes | Block

    @property
    def grid(self) -> Grid:
        """The native grid of the case."""
        return self.record.grid

    def to_native(self, label_slices: Tensor) -> np.ndarray:
        """Labels of the images `(n, *size)` on the native grid."""
        return self.record.to_native(label_slices)

    def values_to_native(self, slices: Tensor) -> np.ndarray:
        """Values of the images `(n, *size)` on the native grid, interpolated linearly; 0 outside the slices."""
        return self.record.values_to_native(slices)


@dataclass(frozen=True, eq=False)
class NewImage:
    """An image or a volume as one example, for models that answer with one vector.

    Attributes:
        file: Where it was read from.
        images: It, prepared, `(1, c, *size)`; of a volume seen as one stack of slices, these, `(n, c, h, w)`.
    """

    file: CaseFile
    images: Tensor


def slice_case(
    file: CaseFile,
    cache: VolumeCache,
    axis: int,
    size: tuple[int, int],
    whole: bool,
    channels: int = 1,
    upright: bool = True,
    frame: int | None = None,
) -> NewCase:
    """A file as slices, prepared like the volumes of `cache`; an image is one slice.

    Args:
        file: The case.
        cache: Says how volumes are prepared; nothing is cached.
        axis: Axis that is sliced along.
        size: Height and width of a slice.
        whole: Enlarge `size` where the plane is larger, so that nothing is cropped.
        channels: Equal channels of a slice.
        upright: How slices lie, see `Planes`; an image stays as it is.
        frame: Which volume, where the file has several.

    Raises:
        DataError: The file cannot be read; shows nothing; is an image, but the training had a spacing.
    """
    voxels, shape, grid = _prepared(file, cache, frame)
    if file.kind == "image":
        axis, upright = 2, False
    record = Planes(grid, shape, axis, size, upright)
    if whole:
        record = record.uncropped()
    return NewCase(file, torch.from_numpy(record.cut(voxels))[:, None].repeat(1, channels, 1, 1), record)


def volume_case(file: CaseFile, cache: VolumeCache, frame: int | None = None) -> NewCase:
    """A file as one volume, prepared like those of `cache`. Raises DataError for an image, else as `slice_case`."""
    if file.kind == "image":
        raise DataError(f"{file.path}: is an image, but the model was trained on volumes. Give volume files.")
    voxels, shape, grid = _prepared(file, cache, frame)
    return NewCase(file, torch.from_numpy(voxels)[None, None], Block(grid, shape))


def _prepared(file: CaseFile, cache: VolumeCache, frame: int | None) -> tuple[np.ndarray, tuple[int, int, int], Grid]:
    """Prepared voxels, their shape, and the native grid."""
    if file.kind == "image" and cache.spacing is not None:
        raise DataError(
            f"{file.path}: an image has no millimetres, but the model was trained at a spacing of "
            f"{cache.spacing} mm. Give NIfTI, NRRD, MetaImage or DICOM files."
        )
    volume = formats.read(file, frame)
    shape = planes.resampled_shape(volume.grid, cache.spacing)
    try:
        voxels = prepare(planes.resample(volume.voxels, shape), cache.percentiles, cache.score_range)
        return voxels, shape, volume.grid
    except ValueError as error:
        raise DataError(f"{file.path}: {error}") from error
