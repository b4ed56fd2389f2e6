"""Volumes as stacks of slices, without labels: what methods that look across slices train on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medgraph import checks
from medgraph.data.batches import StackBatch
from medgraph.data.cases import Case, Source, frame_of, of_part
from medgraph.data.formats import CaseFile
from medgraph.data.planes import Planes
from medgraph.data.preparation import Preparation
from medgraph.data.slices import HELD_BYTES, planes_of
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewCase, slice_case
from medgraph.data.volumes import VolumeCache


class StackData:
    """Whole volumes of a source, each a stack of slices along one axis; labels are never read.

    Volumes may differ in their number of slices. Views take a window of long ones, see `stack_views`.

    Args:
        source: Where the volumes come from.
        axis: Axis that is sliced along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice, by centre crop and padding.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; null keeps an axis, None all of them.
        score_range: Standard scores that become 0 and 1; the authors' fine-tuning takes [0, 10].
        spacing_tolerance: Without `spacing`: bring all volumes to the training volumes' median spacing in the plane,
            where those differ there by a larger share than this (0.2: by 20 %). None never does.
        channels: 1, or 3 equal ones, for a network of color images.
        upright: As of `slices`.
    """

    def __init__(
        self,
        source: Source,
        axis: int = 1,
        size: tuple[int, int] = (48, 48),
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float | None, float | None, float | None] | None = None,
        score_range: tuple[float, float] = (-3.0, 3.0),
        spacing_tolerance: float | None = None,
        channels: int = 1,
        upright: bool = True,
    ):
        self.source, self.upright = source, upright
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.size = (checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1))
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
        """Facts from headers; an example is a volume."""
        counts = [cut.num_slices for cut in self._planes(of_part(self.source, "train"))]
        span = (min(counts), max(counts))
        return ImageSpec(2, self.channels, self.size, len(counts), num_volumes=len(counts), num_slices=span)

    def train(self) -> "Stacks":
        """The training volumes."""
        return self._stacks("train")

    def validation(self) -> "Stacks":
        """The validation volumes."""
        return self._stacks("validation")

    def test(self) -> "Stacks":
        """The test volumes."""
        return self._stacks("test")

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A file of no part, prepared like the others; `whole` crops nothing. Raises DataError."""
        frame = frame_of(self.source)
        return slice_case(file, self.cache, self.axis, self.size, whole, self.channels, self.upright, frame)

    def _planes(self, cases: Sequence[Case]) -> list[Planes]:
        return [planes_of(case, self.cache, self.axis, self.size, self.upright) for case in cases]

    def _stacks(self, part: str) -> "Stacks":
        cases = of_part(self.source, part)
        volumes = [self.cache.prepared(case.image, case.frame) for case in cases]
        return Stacks(volumes, self._planes(cases), self.channels)


class Stacks:
    """Prepared volumes as slices. A set of up to 1 GiB is cut once and held, of a larger one what is asked for.

    Args:
        volumes: Prepared volumes, `(d, h, w)` each.
        cuts: How each is cut.
        channels: Equal channels of a slice.

    Attributes:
        ids: Id of each volume, `(n,)` long.
    """

    def __init__(self, volumes: Sequence[np.ndarray], cuts: Sequence[Planes], channels: int = 1):
        self._volumes, self._cuts, self._channels = volumes, cuts, channels
        self._starts = np.cumsum([0] + [cut.num_slices for cut in cuts])
        self.ids = torch.arange(len(cuts))
        bytes_needed = 4 * int(self._starts[-1]) * int(np.prod(cuts[0].size))
        self._held = [self._cut(i) for i in range(len(cuts))] if bytes_needed <= HELD_BYTES else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> StackBatch:
        stacks = [self._cut(i) if self._held is None else self._held[i] for i in indices]
        numbers = [torch.arange(int(self._starts[i]), int(self._starts[i + 1])) for i in indices]
        slices, valid = pad([stack.expand(-1, self._channels, -1, -1) for stack in stacks])
        ids = self.ids[torch.as_tensor(indices, dtype=torch.long)]
        return StackBatch(ids, slices, valid, pad(numbers, fill=-1)[0], torch.zeros_like(ids))

    def _cut(self, index: int) -> Tensor:
        return torch.from_numpy(self._cuts[index].cut(self._volumes[index]))[:, None]


def pad(stacks: Sequence[Tensor], fill: float = 0) -> tuple[Tensor, Tensor]:
    """Stacks (n_i, ...) as one tensor (b, n, ...), filled up at the end, and where it is not filling (b, n)."""
    padded = pad_sequence(list(stacks), batch_first=True, padding_value=fill)
    lengths = torch.tensor([len(stack) for stack in stacks])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]
