"""Patches of few labelled volumes with a class for each voxel; whole volumes to validate and test on."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import formats, planes
from medgraph.data.batches import LabelledImageBatch, VolumeCase
from medgraph.data.blocks import Block
from medgraph.data.cases import Case, Source, frame_of
from medgraph.data.formats import CaseFile
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewCase, volume_case
from medgraph.data.volumes import VolumeCache


class LabelledVolumeData:
    """Patches of the first `num_labelled` training volumes, in an order drawn from `seed`, with their labels.

    Orders of one seed agree with those of `labelled_slices`, so slice-wise and 3D training see the same volumes. Each
    example is a patch at a place fixed by (seed, example id): an epoch visits all of them, or as many as
    `train.steps_per_epoch` allows.

    Args:
        source: Where the volumes come from; it declares the classes.
        seed: Draws the order of the training volumes and the patches; filled by the builder.
        size: Voxels of a patch along right, anterior, superior; smaller volumes are padded with 0.
        patches_per_volume: Different patches of each volume.
        foreground_share: Share of the patches whose centre is a labelled voxel, all classes alike.
        num_labelled: As `labelled_slices`: a number of training volumes, or a share of them; None takes all.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps the voxels.
        test_part: Part whose volumes are scored: "test", or "validation" where the data fixes no test part.
        without_label: As `labelled_slices`.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        size: tuple[int, int, int] = (48, 64, 48),
        patches_per_volume: int = 32,
        foreground_share: float = 0.5,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float, float, float] | None = None,
        test_part: str = "test",
        without_label: str = "refuse",
    ):
        self.source = source
        self.seed = seed
        first, second, third = (checks.at_least("size", side, 1) for side in size)
        self.size = (first, second, third)
        self.patches_per_volume = checks.at_least("patches_per_volume", patches_per_volume, 1)
        self.foreground_share = checks.fraction("foreground_share", foreground_share)
        self.cache = VolumeCache(checks.interval("percentiles", percentiles, 0, 100), spacing)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self._slices = LabelledSliceData(
            source, seed, num_labelled=num_labelled, test_part=test_part, without_label=without_label
        )  # chooses and checks the volumes

    @property
    def spec(self) -> ImageSpec:
        """Facts from the index alone."""
        count = len(self._slices.labelled_cases()) * self.patches_per_volume
        return ImageSpec(3, 1, self.size, count, self._slices.classes)

    def train(self) -> "Patches":
        """Patches of the labelled training volumes."""
        pairs = []
        for case in self._slices.labelled_cases():
            block, labels = _labels(case, self.cache, self._slices.classes)
            pairs.append((self.cache.prepared(case.image, case.frame), block.cut_native(labels)))
        return Patches(pairs, self.size, self.patches_per_volume, self.foreground_share, self.seed)

    def unlabelled_cases(self) -> tuple[Case, ...]:
        """As `labelled_slices`. Raises DataError."""
        return self._slices.unlabelled_cases()

    def with_labels(self, labels: Mapping[str, Path]) -> Self:
        """As `labelled_slices`."""
        other = copy(self)
        other._slices = self._slices.with_labels(labels)
        return other

    def whole(self, case: Case) -> NewCase:
        """A volume without its label, as it is trained on."""
        grid = formats.read_grid(case.image)
        voxels = torch.from_numpy(np.array(self.cache.prepared(case.image, case.frame)))[None, None]
        block = Block(grid, planes.resampled_shape(grid, self.cache.spacing))
        return NewCase(formats.case_file(case.image), voxels, block)

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """As `labelled_slices`. Raises DataError."""
        self._slices.check_num_labelled(num_labelled)

    def check_test(self) -> None:
        """As `labelled_slices`. Raises DataError."""
        self._slices.check_test()

    def validation(self) -> "WholeCases":
        """The validation volumes, whole."""
        return WholeCases(self._slices.part_cases("validation"), self.cache, self._slices.classes)

    def test(self) -> "WholeCases":
        """The volumes to score, whole."""
        return WholeCases(self._slices.part_cases(self.test_part), self.cache, self._slices.classes)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A file of no part, prepared like the others. Raises DataError.

        `whole` is for data that crop: a volume is never cropped here.
        """
        return volume_case(file, self.cache, frame_of(self.source))


class Patches:
    """Patches of volumes with their labels, cut when they are asked for.

    Args:
        pairs: Prepared voxels and labels of each volume, `(d, h, w)` both.
        size: Voxels of a patch.
        per_volume: Patches of each volume.
        foreground_share: Share of patches around a labelled voxel.
        seed: Draws where they lie.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[np.ndarray, np.ndarray]],
        size: tuple[int, int, int],
        per_volume: int,
        foreground_share: float,
        seed: int,
    ):
        self._pairs, self._size, self._per_volume = pairs, size, per_volume
        self._share, self._seed = foreground_share, seed
        self._present = [np.unique(labels[labels > 0]) for _, labels in pairs]
        self.ids = torch.arange(len(pairs) * per_volume)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> LabelledImageBatch:
        patches = [self._patch(int(index)) for index in indices]
        images = torch.from_numpy(np.stack([image for image, _ in patches]))[:, None]
        labels = torch.from_numpy(np.stack([label for _, label in patches])).long()
        return LabelledImageBatch(self.ids[torch.as_tensor(indices, dtype=torch.long)], images, labels)

    def _patch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        voxels, labels = self._pairs[index // self._per_volume]
        rng = np.random.default_rng([self._seed, index])
        present = self._present[index // self._per_volume]
        if rng.random() < self._share and len(present):
            places = np.flatnonzero(labels == rng.choice(present))
            centre = np.array(np.unravel_index(places[rng.integers(len(places))], labels.shape))
        else:
            centre = np.array([rng.integers(n) for n in voxels.shape])
        image, label = np.zeros(self._size, np.float32), np.zeros(self._size, labels.dtype)
        source, target = [], []
        for middle, have, want in zip(centre, voxels.shape, self._size, strict=True):
            length = min(have, want)
            start = int(np.clip(middle - want // 2, 0, have - length))
            source.append(slice(start, start + length))
            target.append(slice((want - length) // 2, (want - length) // 2 + length))
        image[tuple(target)], label[tuple(target)] = voxels[tuple(source)], labels[tuple(source)]
        return image, label


class WholeCases(Sequence[VolumeCase]):
    """Whole labelled volumes in 3D, each read when it is asked for.

    Args:
        cases: The cases.
        cache: Prepares their voxels.
        classes: Names of the classes.
    """

    def __init__(self, cases: Sequence[Case], cache: VolumeCache, classes: tuple[str, ...]):
        self._cases, self._cache, self._classes = cases, cache, classes

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # one case, or a slice of the sequence
        if isinstance(index, slice):
            return WholeCases(self._cases[index], self._cache, self._classes)
        case = self._cases[index]
        block, labels = _labels(case, self._cache, self._classes)
        voxels: Tensor = torch.from_numpy(np.array(self._cache.prepared(case.image, case.frame)))[None, None]
        return VolumeCase(case.id, voxels, labels, block, block.grid.spacing, block.grid.affine)


def _labels(case: Case, cache: VolumeCache, classes: tuple[str, ...]) -> tuple[Block, np.ndarray]:
    """How the case's volume is prepared, and its labels on the native grid."""
    grid = formats.read_grid(case.image)
    assert case.label is not None  # LabelledSliceData has checked it
    return Block(grid, planes.resampled_shape(grid, cache.spacing)), formats.read_labels(case.label, grid, classes)
