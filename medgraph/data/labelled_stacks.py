"""Stacks of neighbouring slices with a class for each pixel, from few labelled volumes; whole volumes to test on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.batches import LabelledStackBatch
from medgraph.data.cases import Source
from medgraph.data.labelled_slices import LabelledSliceData, LabelledSlices
from medgraph.data.slices import planes_of
from medgraph.data.spec import ImageSpec
from medgraph.errors import DataError


class LabelledStackData(LabelledSliceData):
    """The volumes of `labelled_slices`, trained on in stacks of `num_slices` neighbours: what slice context needs.

    Each stack begins half a stack after the one before it, the last ends with its volume.

    Args:
        source: Where the volumes come from; it declares the classes.
        seed: Draws the order of the training volumes; filled by the builder.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        num_slices: Slices of a stack.
        num_labelled: As `labelled_slices`: a number of training volumes, or a share of them; None takes all.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; null keeps an axis, None all of them.
        test_part: Part whose volumes are scored: "test", or "validation" where the data fixes no test part.
        score_range: Standard scores that become 0 and 1; the authors' fine-tuning takes [0, 10].
        spacing_tolerance: As of `slices`; the median is that of all training volumes, labelled or not.
        without_label: As `labelled_slices`.
        upright: As of `slices`.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        num_slices: int = 16,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float | None, float | None, float | None] | None = None,
        test_part: str = "test",
        score_range: tuple[float, float] = (-3.0, 3.0),
        spacing_tolerance: float | None = None,
        without_label: str = "refuse",
        upright: bool = True,
    ):
        rest = (percentiles, spacing, test_part, score_range, spacing_tolerance, without_label, upright)
        super().__init__(source, seed, axis, size, num_labelled, *rest)
        self.num_slices = checks.at_least("num_slices", num_slices, 2)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the index and headers alone; an example is a stack."""
        counts = self._counts()
        starts = sum(len(self._starts(count)) for count in counts)
        span = (min(counts), max(counts))
        return ImageSpec(2, 1, self.size, starts, self.classes, num_volumes=len(counts), num_slices=span)

    def train(self) -> "LabelledStacks":  # type: ignore[override]  # the same volumes, in other batches
        """Stacks of the labelled training volumes."""
        first, windows = 0, []
        for count in self._counts():
            windows += [first + start + torch.arange(self.num_slices) for start in self._starts(count)]
            first += count
        return LabelledStacks(super().train(), torch.stack(windows))

    def _counts(self) -> list[int]:
        """Slices of each labelled training volume. Raises DataError where one has fewer than a stack."""
        cases = self.labelled_cases()
        counts = [planes_of(case, self.cache, self.axis, self.size, self.upright).num_slices for case in cases]
        shortest = min(range(len(counts)), key=counts.__getitem__)
        if counts[shortest] < self.num_slices:
            raise DataError(
                f"{cases[shortest].image}: {counts[shortest]} slices along axis {self.axis}, but a stack takes "
                f"{self.num_slices}. Lower num_slices."
            )
        return counts

    def _starts(self, count: int) -> list[int]:
        last = count - self.num_slices
        return sorted({*range(0, last, self.num_slices // 2), last})


class LabelledStacks:
    """Stacks of neighbouring slices with their labels, held in memory.

    Args:
        slices: All slices with their labels.
        windows: Positions of each stack's slices among them, `(stacks, n)`.

    Attributes:
        ids: Id of each stack.
    """

    def __init__(self, slices: LabelledSlices, windows: Tensor):
        self._slices, self._windows = slices, windows
        self.ids = torch.arange(len(windows))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> LabelledStackBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        windows = self._windows[index]
        flat = self._slices.__getitems__(windows.flatten().tolist())
        images, labels = (part.unflatten(0, tuple(windows.shape)) for part in (flat.images, flat.labels))
        return LabelledStackBatch(self.ids[index], images, labels)
