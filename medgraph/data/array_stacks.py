"""Volumes of one .npz file, as MedMNIST's, as stacks of slices: whole, slice by slice, or each with its class."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.batches import ImageBatch, StackBatch
from medgraph.data.classified import Classified, as_classes, draw_labelled, read_arrays
from medgraph.data.label_counts import label_count
from medgraph.data.numpy_files import open_arrays
from medgraph.data.spec import ImageSpec
from medgraph.data.thinning import every_nth
from medgraph.errors import DataError

_EXPECTED = "an .npz file with train_images and train_labels"
_AT_ONCE = 4096  # slices looked at: a float of each voxel of all of them would take four times their memory


class StackedArrays:
    """The volumes of a file, cut into slices: `(n, slices, 1, h, w)` uint8 for each part.

    Args:
        path: The file, see `classified_arrays`; its images are `(n, d, h, w)` uint8.
        axis: Axis that is sliced along: 0, 1 or 2.
        pool: Takes the mean of blocks of so many voxels along each axis; 1 keeps the voxels.
    """

    def __init__(self, path: str, axis: int, pool: int):
        self.path = path
        self.axis = checks.one_of("axis", axis, (0, 1, 2))
        self.pool = checks.at_least("pool", pool, 1)

    @cached_property
    def parts(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Stacks and classes of each part. Raises DataError where images are no volumes, or smaller than a block."""
        found = {}
        for part, (images, labels) in read_arrays(self.path).items():
            if images.ndim != 5 or images.dtype != torch.uint8 or min(images.shape[2:]) < self.pool:
                raise self._mistake(tuple(images.shape[2:]), str(images.dtype))
            found[part] = self._cut(images), as_classes(self.path, part, labels)
        return found

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Stacks and classes of one part. Raises DataError where the file has none."""
        if name not in self.parts:
            raise DataError(f"{self.path}: has no {name} part. There are: {', '.join(self.parts)}.")
        return self.parts[name]

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Volumes of the training part, slices of each, height and width: from the file's header alone."""
        file = Path(os.path.expanduser(self.path))
        if not file.is_file():
            read_arrays(self.path)  # has the message for this
        with open_arrays(file, _EXPECTED) as stored:
            assert stored.zip is not None  # it is open
            with stored.zip.open("train_images.npy") as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
        if len(shape) != 4 or dtype != np.uint8 or min(shape[1:]) < self.pool:
            raise self._mistake(shape[1:], str(dtype))
        sides = [side // self.pool for side in shape[1:]]
        slices = sides.pop(self.axis)
        height, width = sides
        return shape[0], slices, height, width

    def spec(self, num_labelled: int | float | None = None, classes: tuple[str, ...] = ()) -> ImageSpec:
        """Facts of the training part, from the file's header alone; None counts all its volumes."""
        volumes, slices, height, width = self.shape
        given = label_count(num_labelled, volumes)
        return ImageSpec(2, 1, (height, width), given, classes, num_volumes=volumes, num_slices=(slices, slices))

    def _mistake(self, shape: tuple[int, ...], kind: str) -> DataError:
        return DataError(
            f"{self.path}: has images of shape {shape} and type {kind}, expected volumes of uint8 with {self.pool} "
            "voxels or more along each axis."
        )

    def _cut(self, images: Tensor) -> Tensor:
        blocks = [images] if self.pool == 1 else [self._shrink(some) for some in images.split(64)]
        return torch.cat(blocks).movedim(self.axis + 2, 1)

    def _shrink(self, images: Tensor) -> Tensor:
        return F.avg_pool3d(images.float(), self.pool).round().to(torch.uint8)


class ArrayStackData:
    """Volumes of an .npz file as stacks of slices, without classes: what methods that look across slices train on.

    Args:
        path: The file, see `classified_arrays`; its images are `(n, d, h, w)` uint8.
        axis: Axis that is sliced along: 0, 1 or 2.
        pool: Takes the mean of blocks of so many voxels along each axis; 1 keeps the voxels.
    """

    def __init__(self, path: str, axis: int = 0, pool: int = 1):
        self.arrays = StackedArrays(path, axis, pool)

    @property
    def spec(self) -> ImageSpec:
        """Facts of the training part; an example is a volume."""
        return self.arrays.spec()

    def train(self) -> "ArrayStacks":
        """The training volumes."""
        return ArrayStacks(self.arrays.part("train")[0])

    def validation(self) -> "ArrayStacks":
        """The validation volumes."""
        return ArrayStacks(self.arrays.part("validation")[0])

    def test(self) -> "ArrayStacks":
        """The test volumes."""
        return ArrayStacks(self.arrays.part("test")[0])


class ArrayStacks:
    """Volumes of one length, held in memory.

    Args:
        stacks: `(n, slices, 1, h, w)` uint8.

    Attributes:
        ids: Id of each volume, `(n,)` long.
    """

    def __init__(self, stacks: Tensor):
        self._stacks = stacks
        self.ids = torch.arange(len(stacks))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> StackBatch:
        ids, count = torch.as_tensor(indices, dtype=torch.long), self._stacks.shape[1]
        numbers = ids[:, None] * count + torch.arange(count)
        valid = torch.ones_like(numbers, dtype=torch.bool)
        return StackBatch(ids, self._stacks[ids].float() / 255, valid, numbers, torch.zeros_like(ids))


class ArraySliceData:
    """Slices of the volumes of an .npz file, without classes. A slice on which hardly anything is seen is dropped.

    Args:
        path: The file, see `classified_arrays`; its images are `(n, d, h, w)` uint8.
        axis: Axis that is sliced along: 0, 1 or 2.
        pool: Takes the mean of blocks of so many voxels along each axis; 1 keeps the voxels.
        min_foreground: Least share of a slice that must be brighter than 0.
        stride: An epoch shows each volume's every stride-th slice, from a start drawn anew: neighbours look almost the
            same, and SwAV would tell them apart.
    """

    def __init__(self, path: str, axis: int = 0, pool: int = 1, min_foreground: float = 0.01, stride: int = 1):
        self.arrays = StackedArrays(path, axis, pool)
        self.min_foreground = checks.fraction("min_foreground", min_foreground)
        self.stride = checks.at_least("stride", stride, 1)

    @property
    def spec(self) -> ImageSpec:
        """Facts of the training part; `num_examples` counts all slices, dropped ones too."""
        volumes, slices, height, width = self.arrays.shape
        return ImageSpec(2, 1, (height, width), volumes * slices)

    def train(self) -> "ArraySlices":
        """Slices of the training volumes."""
        return ArraySlices(self.arrays.part("train")[0], self.min_foreground, self.stride)

    def validation(self) -> "ArraySlices":
        """Slices of the validation volumes."""
        return ArraySlices(self.arrays.part("validation")[0], self.min_foreground)

    def test(self) -> "ArraySlices":
        """Slices of the test volumes."""
        return ArraySlices(self.arrays.part("test")[0], self.min_foreground)


class ArraySlices:
    """Chosen slices of volumes, held in memory.

    Args:
        stacks: `(n, slices, 1, h, w)` uint8.
        min_foreground: Least share of a slice that must be brighter than 0.
        stride: An epoch shows every stride-th of them.

    Attributes:
        ids: Id of each slice, fixed by (volume, slice number), `(m,)` long.
    """

    def __init__(self, stacks: Tensor, min_foreground: float, stride: int = 1):
        self._slices, self._num_slices, self._stride = stacks.flatten(0, 1), stacks.shape[1], stride
        shown = torch.cat([(some > 0).float().mean(dim=(1, 2, 3)) for some in self._slices.split(_AT_ONCE)])
        self.ids = (shown >= min_foreground).nonzero().flatten()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        ids = self.ids[torch.as_tensor(indices, dtype=torch.long)]
        return ImageBatch(ids, self._slices[ids].float() / 255, torch.zeros_like(ids))

    def shown(self, seed: int, epoch: int) -> np.ndarray:
        """Which slices `(m,)` one epoch shows."""
        return every_nth((self.ids // self._num_slices).numpy(), self._stride, seed, epoch)


class ClassifiedStackData:
    """Volumes of an .npz file as stacks of slices, each with its class: what a volume encoder is probed with.

    Args:
        path: The file, see `classified_arrays`; its images are `(n, d, h, w)` uint8.
        seed: Draws which training volumes are labelled; filled by the builder.
        axis: Axis that is sliced along: 0, 1 or 2.
        pool: Takes the mean of blocks of so many voxels along each axis; 1 keeps the voxels.
        classes: Names of the labels 0, 1, ...
        num_labelled: Training volumes whose class may be used, see `classified_folder`; None takes all.
        test_part: Part that is scored: "test", or "validation" where the file has no test part.
    """

    def __init__(
        self,
        path: str,
        seed: int,
        classes: tuple[str, ...],
        axis: int = 0,
        pool: int = 1,
        num_labelled: int | float | None = None,
        test_part: str = "test",
    ):
        self.arrays = StackedArrays(path, axis, pool)
        self.seed = seed
        self.classes = tuple(classes)
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 2)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))

    @property
    def spec(self) -> ImageSpec:
        """Facts of the training part. Raises DataError where it has more classes than names."""
        facts = self.arrays.spec(self.num_labelled, self.classes)
        self._check_named(int(self._train_labels.max()))
        return facts

    def train(self) -> Classified:
        """The labelled training volumes, `(b, slices, 1, h, w)`."""
        stacks, labels = self._part("train")
        return Classified(stacks, labels, draw_labelled(labels, self.num_labelled, self.seed))

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """As `classified_folder`. Raises DataError."""
        draw_labelled(self._train_labels, num_labelled, self.seed)

    def validation(self) -> Classified:
        """The validation volumes."""
        return Classified(*self._part("validation"))

    def test(self) -> Classified:
        """The volumes to score."""
        return Classified(*self._part(self.test_part))

    def _part(self, name: str) -> tuple[Tensor, Tensor]:
        """Stacks and classes of one part. Raises DataError where it has more classes than names."""
        stacks, labels = self.arrays.part(name)
        self._check_named(int(labels.max()))
        return stacks, labels

    def _check_named(self, highest: int) -> None:
        if highest >= len(self.classes):
            raise DataError(
                f"{self.arrays.path}: has the labels 0 to {highest}, but classes names {len(self.classes)}. "
                "Name each of them."
            )

    @property
    def _train_labels(self) -> Tensor:
        """Classes of the training volumes, whose voxels are not read."""
        file = Path(os.path.expanduser(self.arrays.path))
        with open_arrays(file, _EXPECTED) as stored:
            labels = stored["train_labels"]
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "biuf" or not labels.size:
            raise DataError(f"{file}: train_labels holds no numbers, expected a class for each image.")
        return torch.from_numpy(labels).flatten()
