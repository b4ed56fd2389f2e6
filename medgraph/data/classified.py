"""Images or volumes with one class each: a folder with a list, or one .npz file as MedMNIST has them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.formats import CaseFile
from medgraph.data.images import ImageFolderData
from medgraph.data.label_counts import label_count, told_count
from medgraph.data.numpy_files import open_arrays
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewImage
from medgraph.errors import DataError

PREFIX = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True, eq=False)
class ClassBatch:
    """Images with one class, or one number, each.

    Attributes:
        ids: Global example ids, `(b,)` long.
        images: Prepared images, `(b, c, *size)`.
        labels: Class indices, `(b,)` long; numbers, float.
    """

    ids: Tensor
    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "ClassBatch":
        """The same batch on another device."""
        return ClassBatch(self.ids.to(device), self.images.to(device), self.labels.to(device))


class Classified:
    """Images with their classes or numbers, held in memory.

    Args:
        images: `(n, c, *size)`, float in [0, 1] or uint8, which is scaled to that when asked for.
        labels: Class of each, `(n,)` long, or number of each, float.
        chosen: Positions that belong to the set; None takes all. Ids are positions.

    Attributes:
        ids, groups: Id of each example; each is a case of its own.
        labels: Class or number of each example.
    """

    def __init__(self, images: Tensor, labels: Tensor, chosen: np.ndarray | None = None):
        self._images = images
        self.ids = torch.arange(len(images)) if chosen is None else torch.from_numpy(np.sort(chosen))
        self.groups = self.ids
        self.labels = labels[self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ClassBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        images = self._images[self.ids[index]]
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        return ClassBatch(self.ids[index], images, self.labels[index])


class ClassifiedFolderData:
    """The images of a folder whose list gives each a class, see `images`; labels of few of them are used to train.

    Args:
        root: The folder, with `labels.csv`: file, split (train, val, test), label (0, 1, ...) and, at will, class.
        seed: Draws which training images are labelled; filled by the builder.
        size: Height and width.
        channels: 1 reads gray, 3 color.
        num_labelled: Training images whose class may be used, in proportion to the classes, at least one of each: a
            number, or a share of all, rounded up; None takes all. Those of a smaller number are among those of a
            larger.
        percentiles: Intensities are clipped to these two percentiles of the image before scaling.
        test_part: Part that is scored: "test", or "validation" where the list has no test part.
        score_range: Standard scores that become 0 and 1.
    """

    def __init__(
        self,
        root: str,
        seed: int,
        size: tuple[int, int] = (48, 48),
        channels: int = 1,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        test_part: str = "test",
        score_range: tuple[float, float] = (-3.0, 3.0),
    ):
        self.seed = seed
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 2)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.folder = ImageFolderData(root, "labels.csv", size, channels, percentiles, score_range=score_range)

    @property
    def files(self):  # type: ignore[no-untyped-def]  # as ImageFolderData
        """All images of the folder."""
        return self.folder.files

    @property
    def spec(self) -> ImageSpec:
        """Facts from the list alone. Raises DataError where it has no classes."""
        facts = self.folder.spec
        if facts.num_classes < 2:
            raise DataError(f"{self.folder.root}: labels.csv names {facts.num_classes} classes, expected two or more.")
        count = label_count(self.num_labelled, facts.num_examples)
        return ImageSpec(2, facts.channels, facts.size, count, facts.classes)

    def train(self) -> Classified:
        """The labelled training images."""
        whole = self._part("train")
        return Classified(whole._images, whole.labels, draw_labelled(whole.labels, self.num_labelled, self.seed))

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where the training images are not so many, or a class would have none."""
        draw_labelled(torch.tensor([file.label for file in self.folder.of_part("train")]), num_labelled, self.seed)

    def validation(self) -> Classified:
        """The validation images."""
        return self._part("validation")

    def test(self) -> Classified:
        """The images to score."""
        return self._part(self.test_part)

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """A PNG or JPEG file of no part, prepared like the others. Raises DataError."""
        return self.folder.new_case(file, whole)

    def _part(self, part: str) -> Classified:
        images = getattr(self.folder, part)()
        return Classified(images.__getitems__(range(len(images))).images, images.labels)


class ArrayParts(ABC):
    """The parts of one .npz file that are scored, whatever its labels are."""

    path: str
    test_part: str

    @cached_property
    @abstractmethod
    def _arrays(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and labels of each part."""

    def validation(self) -> Classified:
        """The validation images."""
        return self._part("validation")

    def test(self) -> Classified:
        """The images to score."""
        return self._part(self.test_part)

    def _part(self, part: str) -> Classified:
        if part not in self._arrays:
            raise DataError(f"{self.path}: has no {PREFIX[part]}_images. Set test_part to validation.")
        return Classified(*self._arrays[part])


class ClassifiedArraysData(ArrayParts):
    """One .npz file with `train_images`, `train_labels` and the same for `val` and `test`, as MedMNIST's [1].

    Images are `(n, h, w)`, `(n, h, w, 3)` or, of volumes, `(n, d, h, w)`, uint8, which are scaled to [0, 1], or floats
    that lie there already.

    [1] Yang et al., 2023, doi:10.1038/s41597-022-01721-8.

    Args:
        path: The file.
        seed: Draws which training images are labelled; filled by the builder.
        classes: Names of the labels 0, 1, ...; none uses their numbers.
        num_labelled: As `classified_folder`.
        test_part: Part that is scored: "test", or "validation" where the file has no test part.
    """

    def __init__(
        self,
        path: str,
        seed: int,
        classes: tuple[str, ...] = (),
        num_labelled: int | float | None = None,
        test_part: str = "test",
    ):
        self.path = path
        self.seed = seed
        self.class_names = tuple(classes)
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 2)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))

    @property
    def spec(self) -> ImageSpec:
        """Facts from the training arrays. Raises DataError."""
        images = self._arrays["train"][0]
        count = max(int(labels.max()) for _, labels in self._arrays.values()) + 1
        names = self.class_names or tuple(str(n) for n in range(count))
        if len(names) < max(count, 2):
            raise DataError(
                f"{self.path}: has the labels 0 to {count - 1}, but classes names {len(names)}. Name each of them."
            )
        given = label_count(self.num_labelled, len(images))
        return ImageSpec(images.ndim - 2, images.shape[1], tuple(images.shape[2:]), given, names)

    def train(self) -> Classified:
        """The labelled training images."""
        images, labels = self._arrays["train"]
        return Classified(images, labels, draw_labelled(labels, self.num_labelled, self.seed))

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """As `classified_folder`. Raises DataError."""
        draw_labelled(self._arrays["train"][1], num_labelled, self.seed)

    @cached_property
    def _arrays(self) -> dict[str, tuple[Tensor, Tensor]]:
        read = read_arrays(self.path)
        return {part: (images, as_classes(self.path, part, labels)) for part, (images, labels) in read.items()}


def read_arrays(path: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Images (n, c, *size) and labels (n,) of each part of an .npz file as MedMNIST's. Raises DataError."""
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise DataError(f"{file}: no such file, expected an .npz file with train_images and train_labels.")
    found = {}
    with open_arrays(file, "an .npz file with train_images and train_labels") as stored:
        for part, name in PREFIX.items():
            if f"{name}_images" in stored and f"{name}_labels" in stored:
                images, labels = stored[f"{name}_images"], stored[f"{name}_labels"]
                _check_arrays(file, name, images, labels)
                found[part] = _channels_first(images), torch.from_numpy(labels).flatten()
        if "train" not in found:
            raise DataError(f"{file}: holds {', '.join(stored.files)}, expected train_images and train_labels.")
    return found


def as_classes(path: str, part: str, labels: Tensor) -> Tensor:
    """Labels (n,) as class indices. Raises DataError for one that is no whole number, or below 0."""
    numbers = labels.double()
    wrong = ~(numbers >= 0) | (numbers % 1 != 0)  # NaN and infinity, too
    if wrong.any():
        raise DataError(
            f"{path}: {PREFIX[part]}_labels holds {numbers[wrong][0]:g}, expected classes: whole numbers from 0. "
            "Number them so; what is measured is read by measured_arrays."
        )
    return labels.long()


def draw_labelled(labels: Tensor, num_labelled: int | float | None, seed: int) -> np.ndarray:
    """Positions of so many examples, or of such a share, classes in proportion and each at least once.

    Raises:
        DataError: Fewer than there are classes, or more than there are examples.
    """
    values = labels.numpy()
    if num_labelled is None:
        return np.arange(len(values))
    classes, count = np.unique(values), label_count(num_labelled, len(values))
    if not len(classes) <= count <= len(values):
        raise DataError(
            f"num_labelled is {told_count(num_labelled, len(values))}, expected {len(classes)}, the number of classes, "
            f"to {len(values)}, the number of training images."
        )
    order = np.random.default_rng(seed).permutation(len(values))
    rank = np.empty(len(values))
    for value in classes:  # the k-th of a class of n stands at k / n: all classes are used up evenly
        mine = order[values[order] == value]
        rank[mine] = np.arange(len(mine)) / len(mine)
    return order[np.argsort(rank[order], kind="stable")][:count]


def _check_arrays(file: Path, name: str, images: Any, labels: Any) -> None:
    """Raise DataError unless both are arrays of numbers, with a label for each image."""
    for kind, array in (("images", images), ("labels", labels)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            found = array.dtype if isinstance(array, np.ndarray) else "no array"
            raise DataError(f"{file}: {name}_{kind} holds {found}, expected numbers. Write the file again.")
    if images.ndim not in (3, 4) or labels.size != len(images):
        raise DataError(
            f"{file}: {name}_images has the shape {images.shape} and {name}_labels {labels.shape}, expected (n, h, w), "
            "(n, h, w, 3) or (n, d, h, w), and one label for each of n images. Write the file again."
        )
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if images.dtype != np.uint8 and not (images.dtype.kind == "f" and 0 <= low <= high <= 1):
        raise DataError(
            f"{file}: {name}_images holds {images.dtype} from {low:g} to {high:g}, expected uint8, or floats from 0 to "
            "1. Scale them, and write the file again."
        )


def _channels_first(images: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(images if images.dtype == np.uint8 else images.astype(np.float32))
    return tensor.movedim(-1, 1) if tensor.ndim == 4 and tensor.shape[-1] == 3 else tensor[:, None]
