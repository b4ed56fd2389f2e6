"""Volumes as stacks of slices with one class or number each: what an encoder that looks across slices is tuned on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.cases import Case, Source, frame_of
from medgraph.data.classified import ClassBatch
from medgraph.data.formats import CaseFile
from medgraph.data.planes import Planes
from medgraph.data.slices import planes_of
from medgraph.data.spec import ImageSpec
from medgraph.data.targeted import Chosen, Targeted
from medgraph.data.targets import Target
from medgraph.data.unseen import NewImage, slice_case
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError


class TargetedStackData(Targeted):
    """Volumes as stacks of as many slices each, with the class or number that `target` gives the volume.

    The slices lie at equal distances over the whole volume; one in the middle of each of `num_slices` equal parts.

    Args:
        source: Where the volumes come from.
        target: What is known of each: `column` of a table, or `label_volume`.
        seed: Draws which training volumes are labelled; filled by the builder.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        num_slices: Slices of a stack; no volume may have fewer.
        num_labelled: As `targeted_volumes`, a number or a share of volumes.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps the voxels.
        test_part: Part that is scored: "test", or "validation" where the data fixes no test part.
        score_range: Standard scores that become 0 and 1.
        upright: As of `slices`.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        seed: int,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        num_slices: int = 16,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float, float, float] | None = None,
        test_part: str = "test",
        score_range: tuple[float, float] = (-3.0, 3.0),
        upright: bool = True,
    ):
        self.upright = upright
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.size = (checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1))
        self.num_slices = checks.at_least("num_slices", num_slices, 2)
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        checks.interval("percentiles", percentiles, 0, 100)
        self.cache = VolumeCache(percentiles, spacing, score_range=score_range)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.source, self.target, self.seed = source, target, seed
        self._chosen = Chosen(source, target, seed, num_labelled)

    @property
    def spec(self) -> ImageSpec:
        """Facts from tables and headers; an example is a volume. Raises DataError for one of too few slices."""
        cases = self._chosen.labelled_cases()
        for case in cases:
            self._cut(case)
        facts = self._chosen.spec(2, self.size, self.test_part, len(cases))
        return replace(facts, num_volumes=len(cases), num_slices=(self.num_slices, self.num_slices))

    def check_test(self) -> None:
        """Raise DataError where a volume that will be scored has too few slices."""
        for case in self._chosen.part(self.test_part)[0]:
            self._cut(case)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """The stack of a file of no part, `(num_slices, c, h, w)`; never `whole`. Raises DataError."""
        frame = frame_of(self.source)
        new = slice_case(file, self.cache, self.axis, self.size, whole=False, upright=self.upright, frame=frame)
        images = new.images
        return NewImage(file, images[torch.from_numpy(self._numbers(len(images), str(file.path)))])

    def _part(self, cases: Sequence[Case], labels: Tensor) -> "TargetedStacks":
        stacks = []
        for case in cases:
            cut = self._cut(case)
            numbers = self._numbers(cut.num_slices, str(case.image))
            stacks.append(cut.cut(self.cache.prepared(case.image, case.frame), numbers))
        return TargetedStacks(torch.from_numpy(np.stack(stacks))[:, :, None], labels, [case.id for case in cases])

    def _cut(self, case: Case) -> Planes:
        """How a case is cut. Raises DataError where it has too few slices."""
        cut = planes_of(case, self.cache, self.axis, self.size, self.upright)
        self._numbers(cut.num_slices, str(case.image))
        return cut

    def _numbers(self, count: int, path: str) -> np.ndarray:
        """Which of `count` slices a stack takes. Raises DataError where they are too few."""
        if count < self.num_slices:
            raise DataError(
                f"{path}: {count} slices along axis {self.axis}, but a stack takes {self.num_slices}. Lower num_slices."
            )
        return evenly(count, self.num_slices)


class TargetedStacks:
    """Stacks with their targets, held in memory.

    Args:
        stacks: `(n, slices, c, h, w)`.
        labels: Class or number of each, `(n,)`.
        names: Id of the case of each.

    Attributes:
        ids, groups: Id, and number of the case, of each example.
    """

    def __init__(self, stacks: Tensor, labels: Tensor, names: list[str]):
        self.ids = self.groups = torch.arange(len(stacks))
        self._stacks, self.labels, self.names = stacks, labels, names

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ClassBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        return ClassBatch(self.ids[index], self._stacks[index], self.labels[index])


def evenly(count: int, wanted: int) -> np.ndarray:
    """The middle of each of `wanted` equal parts of `count` slices."""
    return (np.arange(wanted) * 2 + 1) * count // (2 * wanted)
