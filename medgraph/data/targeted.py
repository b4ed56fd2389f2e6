"""Volumes with one class or one number each, whole in 3D or slice by slice."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.blocks import centered
from medgraph.data.cases import Case, Source, frame_of, of_part
from medgraph.data.classified import ClassBatch, draw_labelled
from medgraph.data.formats import CaseFile
from medgraph.data.label_counts import label_count
from medgraph.data.slices import Slices, foreground, planes_of
from medgraph.data.spec import ImageSpec
from medgraph.data.targets import Target
from medgraph.data.unseen import NewCase, NewImage, slice_case, volume_case
from medgraph.data.volumes import VolumeCache


class Targeted(ABC):
    """The parts of a source whose cases have targets."""

    test_part: str
    _chosen: "Chosen"

    def train(self) -> Any:
        """Examples of the labelled training volumes."""
        return self._part(*self._chosen.labelled())

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where the training volumes are not so many, or a class would have none."""
        self._chosen.drawn(num_labelled)

    def validation(self) -> Any:
        """Examples of the validation volumes."""
        return self._part(*self._chosen.part("validation"))

    def test(self) -> Any:
        """Examples of the volumes to score."""
        return self._part(*self._chosen.part(self.test_part))

    @abstractmethod
    def _part(self, cases: Sequence[Case], labels: Tensor) -> Any: ...


class TargetedVolumeData(Targeted):
    """Whole volumes of a source in 3D, each with the class or number that `target` gives it.

    Volumes are cropped around their centre, and padded where they are smaller. Padding tells how large a volume was:
    for a field of view that says something about the target, choose a size that no volume falls below.

    Args:
        source: Where the volumes come from.
        target: What is known of each: `column` of a table, or `label_volume`.
        seed: Draws which training volumes are labelled; filled by the builder.
        size: Voxels along right, anterior, superior.
        num_labelled: Training volumes whose target may be used, or a share of them, classes in proportion; None takes
            all. Those of a smaller number are among those of a larger.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps the voxels.
        test_part: Part that is scored: "test", or "validation" where the data fixes no test part.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        seed: int,
        size: tuple[int, int, int] = (48, 64, 48),
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float, float, float] | None = None,
        test_part: str = "test",
    ):
        first, second, third = (checks.at_least("size", side, 1) for side in size)
        self.size = (first, second, third)
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.cache = VolumeCache(checks.interval("percentiles", percentiles, 0, 100), spacing)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.source, self.target, self.seed = source, target, seed
        self._chosen = Chosen(source, target, seed, num_labelled)

    @property
    def spec(self) -> ImageSpec:
        """Facts from tables and headers; every case that will be used has a good target, or a DataError says which."""
        return self._chosen.spec(3, self.size, self.test_part)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """A file of no part, prepared like the others; never `whole`, as the answer is about the same field of view."""
        images = volume_case(file, self.cache, frame_of(self.source)).images
        return NewImage(file, torch.from_numpy(centered(images[0, 0].numpy(), self.size))[None, None])

    def _part(self, cases: Sequence[Case], labels: Tensor) -> "TargetedVolumes":
        return TargetedVolumes(cases, labels, self.cache, self.size)


class TargetedSliceData(Targeted):
    """Slices of volumes, each with the class or number of its volume; scores and predictions are means over slices.

    Args:
        source: Where the volumes come from.
        target: What is known of each: `column` of a table, or `label_volume`.
        seed: Draws which training volumes are labelled; filled by the builder.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        num_labelled: As `targeted_volumes`, a number or a share of volumes.
        min_foreground: Least fraction of a slice above the volume's 20th percentile; others are left out.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps the voxels.
        test_part: Part that is scored: "test", or "validation" where the data fixes no test part.
        upright: As of `slices`.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        seed: int,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        num_labelled: int | float | None = None,
        min_foreground: float = 0.05,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float, float, float] | None = None,
        test_part: str = "test",
        upright: bool = True,
    ):
        self.upright = upright
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.size = (checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1))
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.min_foreground = checks.fraction("min_foreground", min_foreground)
        self.cache = VolumeCache(checks.interval("percentiles", percentiles, 0, 100), spacing)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.source, self.target, self.seed = source, target, seed
        self._chosen = Chosen(source, target, seed, num_labelled)

    @property
    def spec(self) -> ImageSpec:
        """Facts from tables and headers; an example is a slice, counted with those that will be left out."""
        cases = self._chosen.labelled_cases()
        count = sum(planes_of(case, self.cache, self.axis, self.size, self.upright).num_slices for case in cases)
        return self._chosen.spec(2, self.size, self.test_part, count)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A file of no part, prepared like the others; never `whole`. Raises DataError."""
        frame = frame_of(self.source)
        return slice_case(file, self.cache, self.axis, self.size, whole=False, upright=self.upright, frame=frame)

    def _part(self, cases: Sequence[Case], labels: Tensor) -> "TargetedSlices":
        cuts = [planes_of(case, self.cache, self.axis, self.size, self.upright) for case in cases]
        volumes = [self.cache.prepared(case.image, case.frame) for case in cases]
        numbers = [foreground(voxels, self.axis, self.min_foreground) for voxels in volumes]
        counts = torch.tensor([len(some) for some in numbers])
        groups = torch.arange(len(cases)).repeat_interleave(counts)
        return TargetedSlices(Slices(volumes, cuts, numbers), labels[groups], groups, [case.id for case in cases])


class TargetedVolumes:
    """Volumes with their targets, all prepared at once, cut when they are asked for.

    Args:
        cases: The cases.
        labels: Class or number of each, `(n,)`.
        cache: Prepares their voxels.
        size: Voxels of an example.

    Attributes:
        ids, labels, groups: Id, target and number of the case of each example.
        names: Id of each case.
    """

    def __init__(self, cases: Sequence[Case], labels: Tensor, cache: VolumeCache, size: tuple[int, int, int]):
        self._volumes, self._size = [cache.prepared(case.image, case.frame) for case in cases], size
        self.ids = self.groups = torch.arange(len(cases))
        self.labels, self.names = labels, [case.id for case in cases]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ClassBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        volumes = [centered(self._volumes[i], self._size) for i in index.tolist()]
        return ClassBatch(self.ids[index], torch.from_numpy(np.stack(volumes))[:, None], self.labels[index])


class TargetedSlices:
    """Slices, each with the target of its volume.

    Args:
        slices: The images.
        labels: Class or number of each slice, `(n,)`.
        groups: Number of the volume of each slice, `(n,)`.
        names: Id of each volume.
    """

    def __init__(self, slices: Slices, labels: Tensor, groups: Tensor, names: list[str]):
        self.ids, self.labels, self.groups, self.names = slices.ids, labels, groups, names
        self._slices = slices

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ClassBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        return ClassBatch(self.ids[index], self._slices.images(index), self.labels[index])


class Chosen:
    """Which cases of a source are used, and what is known of them."""

    def __init__(self, source: Source, target: Any, seed: int, num_labelled: int | float | None):
        self._source, self._target, self._seed, self._count = source, target, seed, num_labelled

    def part(self, part: str) -> tuple[Sequence[Case], Tensor]:
        """Cases of a part, and the class or number of each. Raises DataError."""
        cases = of_part(self._source, part)
        return cases, self._values(cases)

    def labelled(self) -> tuple[Sequence[Case], Tensor]:
        """Those training cases whose target may be used. Raises DataError."""
        cases = self.labelled_cases()
        return cases, self._values(cases)

    def labelled_cases(self) -> Sequence[Case]:
        """The same without reading a number. Raises DataError."""
        return self.drawn(self._count)

    def drawn(self, num_labelled: int | float | None) -> Sequence[Case]:
        """So many of the training cases. Raises DataError."""
        cases = of_part(self._source, "train")
        groups = self._values(cases) if self._target.classes else torch.zeros(len(cases), dtype=torch.long)
        return [cases[i] for i in np.sort(draw_labelled(groups, num_labelled, self._seed))]

    def spec(self, dims: int, size: tuple[int, ...], test_part: str, count: int | None = None) -> ImageSpec:
        """What is known before a voxel is read. Raises DataError for a case without a good target."""
        training = of_part(self._source, "train")
        self._target.check([case for case in self._source.cases if case.part in ("train", "validation", test_part)])
        count = label_count(self._count, len(training)) if count is None else count
        name = "" if self._target.classes else self._target.name
        return ImageSpec(dims, 1, size, count, tuple(self._target.classes), target=name)

    def _values(self, cases: Sequence[Case]) -> Tensor:
        values = torch.from_numpy(self._target.values(cases))
        return values if self._target.classes else values.float()
