"""Folders of 2D images, PNG or JPEG, with or without a list of parts and classes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medgraph import checks
from medgraph.data.batches import ImageBatch
from medgraph.data.csv_rows import read_rows
from medgraph.data.formats import CaseFile
from medgraph.data.listing import check_name, matching
from medgraph.data.pixels import SUFFIXES, open_image
from medgraph.data.spec import ImageSpec
from medgraph.data.splits import PARTS, split_subjects
from medgraph.data.unseen import NewImage
from medgraph.data.volumes import prepare, score_interval
from medgraph.errors import DataError

_PART_OF_WORD = {part: part for part in PARTS} | {"val": "validation"}


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder.

    Attributes:
        path: The file.
        part: train, validation or test.
        label: Index of its class; None without classes.
        row: Its line of the list, by column.
    """

    path: Path
    part: str
    label: int | None
    row: Mapping[str, str] = field(default_factory=dict, compare=False)


class ImageFolderData:
    """Images below a folder. They are scaled to fit the size, padded around the centre, and their intensities prepared
    as those of volumes are: clipped to percentiles, z-scored, mapped to [0, 1].

    Args:
        root: The folder; images lie in it, or in its folder `images`, or deeper.
        labels: A CSV file in it with the columns `file`, `split` (train, val, test) and, where there are classes,
            `label` (0, 1, ...) and `class`; None takes all images and splits them by fixed fractions.
        size: Height and width.
        channels: 1 reads gray, 3 color; a gray image then has three equal channels.
        percentiles: Intensities are clipped to these two percentiles of the image before scaling.
        fractions: Fractions of images in train, validation and test, without a CSV file.
        split_seed: Draws that split; independent of the seed of a run.
        score_range: Standard scores that become 0 and 1.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = "labels.csv",
        size: tuple[int, int] = (48, 48),
        channels: int = 1,
        percentiles: tuple[float, float] = (0.5, 99.5),
        fractions: tuple[float, float, float] = (1.0, 0.0, 0.0),
        split_seed: int = 0,
        score_range: tuple[float, float] = (-3.0, 3.0),
    ):
        self.root = root
        self.labels = labels
        self.size = (checks.at_least("size", size[0], 1), checks.at_least("size", size[1], 1))
        self.channels = checks.one_of("channels", channels, (1, 3))
        self.percentiles = checks.interval("percentiles", percentiles, 0, 100)
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed
        self.score_range = score_interval(score_range)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the list alone; no image is opened."""
        return ImageSpec(2, self.channels, self.size, len(self.of_part("train")), self.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels; empty without."""
        return self._listed[1]

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """All images, sorted by path."""
        return self._listed[0]

    def of_part(self, part: str) -> tuple[ImageFile, ...]:
        """The images of one part. Raises DataError where there are none."""
        chosen = tuple(file for file in self.files if file.part == part)
        if not chosen:
            raise DataError(f"{self._folder}: no image in the part {part!r}, expected at least one. Change the split.")
        return chosen

    def train(self) -> "Images":
        """The training images."""
        return self._images("train")

    def validation(self) -> "Images":
        """The validation images."""
        return self._images("validation")

    def test(self) -> "Images":
        """The test images."""
        return self._images("test")

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """A PNG or JPEG file of no part, prepared like the others. Raises DataError.

        `whole` is for data that crop: an image is always scaled to fit the size.
        """
        if file.kind != "image":
            raise DataError(f"{file.path}: is a volume, but the model was trained on images. Give PNG or JPEG files.")
        pixels = self._read(file.path)
        return NewImage(file, torch.from_numpy(pixels)[None])

    @property
    def _folder(self) -> Path:
        return Path(os.path.expanduser(self.root))

    @cached_property
    def _listed(self) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
        if not self._folder.is_dir():
            raise DataError(f"{self._folder}: no such folder, expected one with PNG or JPEG images. Check root.")
        if self.labels is not None:
            return _read_list(self._folder, self._folder / self.labels)
        paths = [check_name(path) for path in matching(self._folder, "**/*") if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataError(f"{self._folder}: holds no PNG or JPEG image. Check root.")
        parts = split_subjects(map(str, paths), self.fractions, self.split_seed)
        return tuple(ImageFile(path, parts[str(path)], None) for path in paths), ()

    def _images(self, part: str) -> "Images":
        files = self.of_part(part)
        return Images(
            torch.from_numpy(np.stack([self._read(file.path) for file in files])), [file.label for file in files]
        )

    def _read(self, path: Path) -> np.ndarray:
        return read_image(path, self.channels, self.size, self.percentiles, self.score_range)


class Images:
    """Prepared images, held in memory.

    Args:
        images: `(n, c, h, w)`.
        labels: Class of each, None where it has none.

    Attributes:
        ids: Id of each image, `(n,)` long.
        labels: Class of each image, -1 where it has none, `(n,)` long.
    """

    def __init__(self, images: torch.Tensor, labels: Sequence[int | None]):
        self._images = images
        self.ids = torch.arange(len(images))
        self.labels = torch.tensor([-1 if label is None else label for label in labels])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        return ImageBatch(self.ids[index], self._images[index], torch.zeros_like(index))


def read_image(
    path: Path,
    channels: int,
    size: tuple[int, int],
    percentiles: tuple[float, float],
    score_range: tuple[float, float] = (-3.0, 3.0),
) -> np.ndarray:
    """Pixels `(channels, *size)` in [0, 1], float32. Raises DataError for a file that is no image or shows nothing."""
    image = open_image(path, channels)
    share = min(size[0] / image.height, size[1] / image.width)
    height, width = (max(1, round(n * share)) for n in (image.height, image.width))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    try:
        scaled = prepare(scaled, percentiles, score_range)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    planes = np.moveaxis(np.atleast_3d(scaled), 2, 0)  # (1 or 3, h, w)
    whole = np.zeros((channels, *size), dtype=np.float32)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    whole[:, top : top + height, left : left + width] = planes
    return whole


def _read_list(folder: Path, path: Path) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected a list of the images. Check labels; none takes all images.")
    columns, rows = read_rows(path)
    if not {"file", "split"} <= set(columns):
        raise DataError(f"{path}: has the columns {', '.join(columns) or 'none'}, expected file and split at least.")
    if not rows:
        raise DataError(f"{path}: lists no images, expected a line for each.")
    classes = _class_names(path, rows) if "label" in columns else ()
    files: dict[Path, tuple[int, ImageFile]] = {}
    for line, row in rows.items():
        if row["split"] not in _PART_OF_WORD:
            raise DataError(f"{path}, line {line}: split is {row['split']!r}, expected train, val or test.")
        if not row["file"]:
            raise DataError(f"{path}, line {line}: file is empty, expected the name of an image. Fill it in.")
        place = folder / "images" / row["file"]
        place = place if place.exists() else folder / row["file"]
        if place in files:
            raise DataError(
                f"{path}, line {line}: lists the image {row['file']!r} again, which line {files[place][0]} lists, "
                "expected each once. Remove a line."
            )
        label = int(row["label"]) if "label" in columns else None
        files[place] = line, ImageFile(place, _PART_OF_WORD[row["split"]], label, row)
    return tuple(files[place][1] for place in sorted(files)), classes


def _class_names(path: Path, rows: Mapping[int, Mapping[str, str]]) -> tuple[str, ...]:
    """The name of each label, or its number where none is given. Raises DataError for one with two names."""
    named: dict[int, tuple[int, str]] = {}  # line and name
    for line, row in rows.items():
        if not row["label"].isdecimal():
            raise DataError(f"{path}, line {line}: label is {row['label']!r}, expected 0, 1, 2, ...")
        label, name = int(row["label"]), row.get("class", "")
        first, known = named.get(label, (line, ""))
        if name and known and name != known:
            raise DataError(
                f"{path}, line {line}: calls the label {label} {name!r}, which line {first} calls {known!r}, expected "
                "one class for each label. Correct label or class."
            )
        named[label] = (first, known) if known else (line, name)
    if sorted(named) != list(range(len(named))):
        raise DataError(f"{path}: has the labels {sorted(named)}, expected 0, 1, 2, ... without gaps.")
    return tuple(named[label][1] or str(label) for label in range(len(named)))
