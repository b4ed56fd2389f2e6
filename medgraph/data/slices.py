"""Slices of volumes without labels, with ids global over all training volumes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import formats, planes
from medgraph.data.batches import ImageBatch
from medgraph.data.cases import Case, Source, frame_of, of_part
from medgraph.data.formats import CaseFile
from medgraph.data.planes import Planes
from medgraph.data.preparation import Preparation
from medgraph.data.spec import ImageSpec
from medgraph.data.thinning import every_nth
from medgraph.data.unseen import NewCase, slice_case
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError

HELD_BYTES = 2**30  # sets of slices up to this size are held in memory as one tensor


class SliceData:
    """Unlabelled slices of the training volumes of a source; labels are never read.

    A slice is dropped when the voxels above a percentile of its volume cover too little of it. Its id is fixed by
    (volume, slice number) and counts dropped slices too, so it does not depend on `min_foreground`.

    Args:
        source: Where the volumes come from.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        min_foreground: Least fraction of a slice that must be foreground.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; null keeps an axis, None all of them.
        stride: An epoch shows each volume's every stride-th slice, from a start drawn anew: neighbours look almost the
            same, and SwAV would tell them apart.
        foreground_percentile: Percentile of a volume above which a voxel is foreground.
        score_range: Standard scores that become 0 and 1; the authors' fine-tuning takes [0, 10].
        spacing_tolerance: Without `spacing`: bring all volumes to the training volumes' median spacing in the plane,
            where those differ there by a larger share than this (0.2: by 20 %). None never does.
        channels: 1, or 3 equal ones, for a network of color images.
        upright: Lay slices as viewers show them, see `Planes`, and as PNG files are, so that a mirror along the columns
            is left-right in coronal and axial ones; else rows and columns are the other two RAS axes as they come.
    """

    def __init__(
        self,
        source: Source,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        min_foreground: float = 0.05,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float | None, float | None, float | None] | None = None,
        stride: int = 1,
        foreground_percentile: float = 20.0,
        score_range: tuple[float, float] = (-3.0, 3.0),
        spacing_tolerance: float | None = None,
        channels: int = 1,
        upright: bool = True,
    ):
        self.source, self.upright = source, upright
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.size = _size(size)
        self.min_foreground = checks.fraction("min_foreground", min_foreground)
        self.stride = checks.at_least("stride", stride, 1)
        self.foreground_percentile = checks.between("foreground_percentile", foreground_percentile, 0.0, 100.0)
        self.channels = checks.one_of("channels", channels, (1, 3))
        checks.interval("percentiles", percentiles, 0, 100)
        self.preparation = Preparation(source, axis, percentiles, spacing, spacing_tolerance, score_range)

    @property
    def cache(self) -> VolumeCache:
        """Prepares the volumes."""
        return self.preparation.cache

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return self.preparation.settled(node)

    @property
    def spec(self) -> ImageSpec:
        """Facts from headers: `num_examples` counts all slices of the training volumes, dropped ones too."""
        count = sum(cut.num_slices for cut in self._planes(of_part(self.source, "train")))
        return ImageSpec(2, self.channels, self.size, count)

    def train(self) -> "Slices":
        """Slices of the training volumes."""
        return self._slices("train")

    def validation(self) -> "Slices":
        """Slices of the validation volumes."""
        return self._slices("validation")

    def test(self) -> "Slices":
        """Slices of the test volumes."""
        return self._slices("test")

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A file of no part, prepared like the others; `whole` crops nothing. Raises DataError."""
        frame = frame_of(self.source)
        return slice_case(file, self.cache, self.axis, self.size, whole, self.channels, self.upright, frame)

    def _planes(self, cases: Sequence[Case]) -> list[Planes]:
        return [planes_of(case, self.cache, self.axis, self.size, self.upright) for case in cases]

    def _slices(self, part: str) -> "Slices":
        cases = of_part(self.source, part)
        cuts = self._planes(cases)
        volumes = [self.cache.prepared(case.image, case.frame) for case in cases]
        numbers = [foreground(v, self.axis, self.min_foreground, self.foreground_percentile) for v in volumes]
        return Slices(volumes, cuts, numbers, self.stride, self.channels)


class Slices:
    """Chosen slices of prepared volumes. A set of up to 1 GiB is held as one tensor, a larger one is cut when asked.

    Args:
        volumes: Prepared volumes, `(d, h, w)` each.
        cuts: How each is cut.
        numbers: Which slices of each are taken.
        stride: An epoch shows every stride-th of them.
        channels: Equal channels of a slice in a batch.

    Attributes:
        ids: Id of each example, `(n,)` long: all slices of earlier volumes, plus the slice's number.
    """

    def __init__(
        self,
        volumes: Sequence[np.ndarray],
        cuts: Sequence[Planes],
        numbers: Sequence[np.ndarray],
        stride: int = 1,
        channels: int = 1,
    ):
        self._volumes, self._cuts, self._stride, self._channels = volumes, cuts, stride, channels
        starts = np.cumsum([0] + [cut.num_slices for cut in cuts])
        self._volume_of = np.repeat(np.arange(len(cuts)), [len(n) for n in numbers])
        self._number_of = np.concatenate([np.asarray(n, dtype=np.int64) for n in numbers])
        self.ids = torch.from_numpy(starts[self._volume_of] + self._number_of)
        bytes_needed = 4 * len(self.ids) * int(np.prod(cuts[0].size))
        self._stack = self._cut(np.arange(len(self.ids))) if bytes_needed <= HELD_BYTES else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        images = self.images(index).expand(-1, self._channels, -1, -1)
        return ImageBatch(self.ids[index], images, torch.zeros(len(index), dtype=torch.long))

    def shown(self, seed: int, epoch: int) -> np.ndarray:
        """Which slices `(n,)` one epoch shows."""
        return every_nth(self._volume_of, self._stride, seed, epoch)

    def images(self, index: Tensor) -> Tensor:
        """Images `(b, 1, h, w)` at these positions."""
        return self._stack[index] if self._stack is not None else self._cut(index.numpy())

    def _cut(self, index: np.ndarray) -> Tensor:
        images = np.empty((len(index), *self._cuts[0].size), dtype=np.float32)
        volume_of, number_of = self._volume_of[index], self._number_of[index]
        for volume in np.unique(volume_of):
            mine = np.flatnonzero(volume_of == volume)
            images[mine] = self._cuts[volume].cut(self._volumes[volume], number_of[mine])
        return torch.from_numpy(images)[:, None]


def planes_of(case: Case, cache: VolumeCache, axis: int, size: tuple[int, int], upright: bool = True) -> Planes:
    """How a case is cut, from its header alone. Raises DataError for an image along another axis than 2."""
    is_image = formats.case_file(case.image).kind == "image"
    if axis != 2 and is_image:
        raise DataError(f"{case.image}: is an image, one slice along axis 2, but axis is {axis}. Set axis to 2.")
    grid = formats.read_grid(case.image)
    return Planes(grid, planes.resampled_shape(grid, cache.spacing), axis, size, upright and not is_image)


def foreground(voxels: np.ndarray, axis: int, min_foreground: float, percentile: float = 20.0) -> np.ndarray:
    """Numbers of the slices of which at least `min_foreground` lies above this percentile of the volume."""
    above = voxels > np.float32(np.percentile(voxels, percentile))
    share = above.mean(axis=tuple(other for other in range(3) if other != axis))
    return np.flatnonzero(share >= min_foreground)


def _size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2:
        raise ValueError(f"size: expected height and width, got {size!r}")
    return checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1)
