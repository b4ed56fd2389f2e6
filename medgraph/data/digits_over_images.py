"""Digits laid over natural images: a contrastive set with known factors."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medgraph import checks
from medgraph.data.digits import read_digits
from medgraph.data.grouped import Attribute, GroupedImages, no_validation
from medgraph.data.spec import ImageSpec
from medgraph.data.splits import kept_aside
from medgraph.errors import DataError

FIRST_TEST_IMAGE = 250  # of each class, in order of name: earlier ones train
_ARCHIVE = "cifar10/cifar10_train_subset.zip"
_STREAMS = {"test": 0, "train": 1, "validation": 2}


class DigitsOverImagesData:
    """Background: (1 - weight) image. Target: (1 - weight) image + weight digit, at a place of its own.

    Within each class, images take turns as background and target in training, so the groups share none; every image
    kept aside is seen in both. The salient factor is the digit, the common one what the image shows. Each example is
    fixed by its number: the same digit, at the same place, whenever it is asked for.

    Args:
        root: Folder with `mnist/` and `cifar10/cifar10_train_subset.zip`.
        weight: Share of the digit in the mixture; more makes it easier to see.
        digits_per_image: Target examples made from each image, each with a digit of its own.
        shift: Largest distance of the digit from the middle in pixels, up to 2.
        validation_share: Share of the training images and digits that is kept aside for validation.
    """

    attributes = (Attribute("digit", "salient", 10), Attribute("object", "common", 10))

    def __init__(
        self,
        root: str,
        weight: float = 0.5,
        digits_per_image: int = 4,
        shift: int = 2,
        validation_share: float = 0.0,
    ):
        self.root = root
        self.weight = checks.fraction("weight", weight)
        self.digits_per_image = checks.at_least("digits_per_image", digits_per_image, 1)
        self.shift = checks.between("shift", shift, 0, 2)
        self.validation_share = checks.fraction("validation_share", validation_share)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the archive's listing."""
        _, classes = _listing(Path(self.root).expanduser() / _ARCHIVE, "train")
        num_images = int((~kept_aside(classes, self.validation_share)).sum())
        count = (num_images + 1) // 2 + num_images // 2 * self.digits_per_image
        return ImageSpec(2, 3, (32, 32), count, attributes=tuple(a.name for a in self.attributes))

    def train(self) -> GroupedImages:
        """Each image is either background or, `digits_per_image` times, target."""
        return self._part("train")

    def validation(self) -> GroupedImages:
        """Images and digits of the training part that were kept aside, otherwise as in testing. Raises DataError."""
        if self.validation_share == 0:
            raise no_validation("digits_over_images")
        return self._part("validation")

    def test(self) -> GroupedImages:
        """Images and digits of the other part; each image is once background and `digits_per_image` times target."""
        return self._part("test")

    def _part(self, part: str) -> GroupedImages:
        root = Path(self.root).expanduser()
        whole = "test" if part == "test" else "train"
        images, classes = self._chosen(_read_images(root / _ARCHIVE, whole), part)
        digits, digit_classes = self._chosen(read_digits(root / "mnist", whole), part)
        rank = np.arange(len(images))
        background, target = (rank[::2], rank[1::2]) if part == "train" else (rank, rank)
        image_of = np.concatenate([background, np.repeat(target, self.digits_per_image)])
        is_target = np.arange(len(image_of)) >= len(background)
        rng = np.random.default_rng([len(image_of), _STREAMS[part]])
        digit_of = rng.integers(len(digits), size=len(image_of))
        place = 2 + rng.integers(-self.shift, self.shift + 1, size=(len(image_of), 2))
        digit_class = np.where(is_target, digit_classes[digit_of], np.nan)

        def make(indices: Sequence[int]) -> Tensor:
            made = (1 - self.weight) * images[image_of[list(indices)]]  # (b, 3, 32, 32), a copy
            for row, index in enumerate(indices):
                if is_target[index]:
                    y, x = place[index]
                    made[row, :, y : y + 28, x : x + 28] += self.weight * digits[digit_of[index]]
            return torch.from_numpy(made.astype(np.float32))

        attributes = torch.from_numpy(np.stack([digit_class, classes[image_of]], axis=1))
        subjects = torch.from_numpy(image_of)
        return GroupedImages(make, torch.from_numpy(is_target), attributes, subjects, "digits_over_images")

    def _chosen(self, pictures: tuple[np.ndarray, np.ndarray], part: str) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and classes of the part, of those read for it."""
        if part == "test" or self.validation_share == 0:
            return pictures
        aside = kept_aside(pictures[1], self.validation_share)
        chosen = aside if part == "validation" else ~aside
        return pictures[0][chosen], pictures[1][chosen]


def _listing(path: Path, part: str) -> tuple[list[str], np.ndarray]:
    """Member names of a part, and their classes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file, expected natural images as class/number.jpg. Set data.root to the folder that "
            "holds mnist/ and cifar10/."
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is damaged ({error}), expected a zip archive. Fetch it again.") from error
    of_class: dict[str, list[str]] = {}
    for name in names:
        of_class.setdefault(name.split("/")[0], []).append(name)
    cut = slice(0, FIRST_TEST_IMAGE) if part == "train" else slice(FIRST_TEST_IMAGE, None)
    chosen = [(name, number) for number, members in enumerate(of_class.values()) for name in members[cut]]
    if not chosen:
        raise DataError(
            f"{path}: holds no image to {part}, expected more than {FIRST_TEST_IMAGE} of each class as class/n.jpg. "
            "Fetch it again."
        )
    return [name for name, _ in chosen], np.array([number for _, number in chosen])


@cache
def _read_images(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) in [0, 1] and classes (n,); kept, as probes ask again."""
    names, classes = _listing(path, part)
    with zipfile.ZipFile(path) as archive:
        pixels = [_pixels(archive, name) for name in names]
    return np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32) / 255, classes


def _pixels(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One image (32, 32, 3) of 8 bits."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{archive.filename}, {name}: is damaged ({error}), expected an image. Fetch it again."
        ) from error
    if pixels.shape != (32, 32, 3):
        size = f"{pixels.shape[0]} x {pixels.shape[1]}"
        raise DataError(f"{archive.filename}, {name}: has {size} pixels, expected 32 x 32. Fetch it again.")
    return pixels
