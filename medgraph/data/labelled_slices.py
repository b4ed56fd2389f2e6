"""Slices with a class for each pixel, from few labelled volumes; whole volumes to validate and test on."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import formats
from medgraph.data.batches import LabelledImageBatch, VolumeCase
from medgraph.data.cases import Case, Source, frame_of, of_part
from medgraph.data.formats import CaseFile, Grid
from medgraph.data.label_counts import label_count
from medgraph.data.preparation import Preparation
from medgraph.data.slices import Slices, planes_of
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewCase, slice_case
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError


class LabelledSliceData:
    """All slices of the first `num_labelled` training volumes, in an order drawn from `seed`, with their labels.

    Orders of one seed agree: the volumes chosen for 2 labels are among those chosen for 4.

    Args:
        source: Where the volumes come from; it declares the classes.
        seed: Draws the order of the training volumes; filled by the builder.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        num_labelled: Number of training volumes whose labels may be used, or their share: 0.1 takes a tenth, rounded
            up; None takes all.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; null keeps an axis, None all of them.
        test_part: Part whose volumes are scored: "test", or "validation" where the data fixes no test part.
        score_range: Standard scores that become 0 and 1; the authors' fine-tuning takes [0, 10].
        spacing_tolerance: As of `slices`; the median is that of all training volumes, labelled or not.
        without_label: Training volumes that have no label: "refuse" them, or "leave" them unlabelled.
        upright: As of `slices`.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float | None, float | None, float | None] | None = None,
        test_part: str = "test",
        score_range: tuple[float, float] = (-3.0, 3.0),
        spacing_tolerance: float | None = None,
        without_label: str = "refuse",
        upright: bool = True,
    ):
        self.source = source
        self.seed, self.upright = seed, upright
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.size = (checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1))
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        checks.interval("percentiles", percentiles, 0, 100)
        self.without_label = checks.one_of("without_label", without_label, ("refuse", "leave"))
        self.preparation = Preparation(source, axis, percentiles, spacing, spacing_tolerance, score_range)
        self._given: Mapping[str, Path] = {}

    @property
    def cache(self) -> VolumeCache:
        """Prepares the volumes."""
        return self.preparation.cache

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return self.preparation.settled(node)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the index and headers alone."""
        cases = self.labelled_cases()
        count = sum(planes_of(case, self.cache, self.axis, self.size, self.upright).num_slices for case in cases)
        return ImageSpec(2, 1, self.size, count, self.classes)

    def labelled_cases(self) -> tuple[Case, ...]:
        """The training volumes whose labels are used, in drawn order; then those whose labels were given.

        Raises:
            DataError: Fewer training volumes than asked for; one has no label.
        """
        cases = self._labelled(self.num_labelled)
        if not self._given:
            return cases
        return cases + tuple(replace(case, label=self._given[case.id]) for case in self.unlabelled_cases())

    def unlabelled_cases(self) -> tuple[Case, ...]:
        """The training volumes whose own labels are not used, or that have none. Raises DataError as the labelled."""
        used = {case.id for case in self._labelled(self.num_labelled)}
        return tuple(case for case in of_part(self.source, "train") if case.id not in used)

    def with_labels(self, labels: Mapping[str, Path]) -> Self:
        """The same data, where every one of the `unlabelled_cases` is trained on with a label file from here, by id."""
        other = copy(self)
        other._given = labels
        return other

    def whole(self, case: Case) -> NewCase:
        """All slices of a volume without its label, as it is trained on."""
        record = planes_of(case, self.cache, self.axis, self.size, self.upright)
        images = torch.from_numpy(record.cut(self.cache.prepared(case.image, case.frame)))[:, None]
        return NewCase(formats.case_file(case.image), images, record)

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where there are not so many training volumes."""
        self._labelled(num_labelled)

    def _labelled(self, num_labelled: int | float | None) -> tuple[Case, ...]:
        cases = of_part(self.source, "train")
        if self.without_label == "leave":
            cases = tuple(case for case in cases if case.label is not None) or cases
        cases = _with_labels(cases, self.source)
        wanted = label_count(num_labelled, len(cases))
        if wanted > len(cases):
            raise DataError(
                f"{self.source!r}: num_labelled is {wanted}, expected at most {len(cases)}, the number of training "
                "volumes with a label. Lower num_labelled, or give more data."
            )
        order = np.random.default_rng(self.seed).permutation(len(cases))
        return tuple(cases[i] for i in order[:wanted])

    def train(self) -> "LabelledSlices":
        """Slices of the labelled training volumes."""
        cases, classes = self.labelled_cases(), self.classes
        cuts = [planes_of(case, self.cache, self.axis, self.size, self.upright) for case in cases]
        volumes = [self.cache.prepared(case.image, case.frame) for case in cases]
        slices = Slices(volumes, cuts, [np.arange(cut.num_slices) for cut in cuts])
        labels = [cut.cut_native(_read(case, cut.grid, classes)) for case, cut in zip(cases, cuts, strict=True)]
        return LabelledSlices(slices, torch.from_numpy(np.concatenate(labels)))

    def check_test(self) -> None:
        """Read the label files that will be scored. Raises DataError for a value without class, or another grid."""
        for case in self.part_cases(self.test_part):
            check_labels(case, self.classes)

    def validation(self) -> "VolumeCases":
        """The validation volumes, whole."""
        return self._volumes("validation")

    def test(self) -> "VolumeCases":
        """The volumes to score, whole."""
        return self._volumes(self.test_part)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A file of no part, prepared like the others; `whole` crops nothing. Raises DataError."""
        frame = frame_of(self.source)
        return slice_case(file, self.cache, self.axis, self.size, whole, upright=self.upright, frame=frame)

    def _volumes(self, part: str) -> "VolumeCases":
        return VolumeCases(self, self.part_cases(part))

    def part_cases(self, part: str) -> tuple[Case, ...]:
        """The volumes of a part. Raises DataError where there are none, or one has no label."""
        return _with_labels(of_part(self.source, part), self.source)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first. Raises DataError for fewer than two."""
        classes = tuple(self.source.classes)
        if len(classes) < 2:
            raise DataError(
                f"{self.source!r}: declares the classes {classes}, expected background and at least one more. "
                "Name them in the source's `classes` (`labels` of a dataset.json)."
            )
        return classes


class LabelledSlices:
    """Slices with their labels, held in memory.

    Args:
        slices: The images.
        labels: Class indices of all slices, `(n, h, w)`.
    """

    def __init__(self, slices: Slices, labels: Tensor):
        self.ids = slices.ids
        self._slices, self._labels = slices, labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> LabelledImageBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        return LabelledImageBatch(self.ids[index], self._slices.images(index), self._labels[index].long())


class VolumeCases(Sequence[VolumeCase]):
    """Whole labelled volumes, each read when it is asked for.

    Args:
        data: Says how they are prepared, and names the classes.
        cases: The cases.
    """

    def __init__(self, data: LabelledSliceData, cases: Sequence[Case]):
        self._data, self._cases = data, cases

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # one case, or a slice of the sequence
        if isinstance(index, slice):
            return VolumeCases(self._data, self._cases[index])
        case = self._cases[index]
        found = self._data.whole(case)
        labels = _read(case, found.grid, self._data.classes)
        unit = "px" if found.file.kind == "image" else "mm"
        return VolumeCase(case.id, found.images, labels, found.record, found.grid.spacing, found.grid.affine, unit)


def _with_labels(cases: tuple[Case, ...], source: Source) -> tuple[Case, ...]:
    bare = [case for case in cases if case.label is None]
    if bare:
        raise DataError(
            f"{bare[0].image}: image without label ({len(bare)} of {len(cases)} in the part {bare[0].part!r} of "
            f"{source!r}), expected a label file for each. Add it, or leave the image out; training images may also "
            "stay unlabelled: without_label: leave."
        )
    return cases


def check_labels(case: Case, classes: tuple[str, ...]) -> None:
    """Raise DataError for a label file with a value that is no class, or on another grid than its image."""
    assert case.label is not None  # _with_labels
    _checked(str(case.image), str(case.label), case.label.stat().st_mtime_ns if case.label.exists() else 0, classes)


@lru_cache(maxsize=100_000)
def _checked(image: str, label: str, modified: int, classes: tuple[str, ...]) -> None:
    """Done once for each state of a file, however many arms are compared."""
    formats.read_labels(label, formats.read_grid(image), classes)


def _read(case: Case, grid: Grid, classes: tuple[str, ...]) -> np.ndarray:
    assert case.label is not None  # _with_labels
    return formats.read_labels(case.label, grid, classes)
