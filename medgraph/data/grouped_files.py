"""A user's own two groups of images or volumes, read from files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data import formats
from medgraph.data.formats import VOLUME_SUFFIXES, CaseFile
from medgraph.data.grouped import Attribute, GroupedImages
from medgraph.data.pixels import open_image
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewImage, volume_case
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", *VOLUME_SUFFIXES)


@dataclass(frozen=True)
class GroupedFile:
    """One file of a group.

    Attributes:
        file: Image (png, jpg) or volume (nii, nii.gz).
        subject: Who it was taken from; a subject lies in one part only.
        is_target: Its group.
        part: train, validation or test.
        values: What is known about it, by attribute; a missing name is not known.
    """

    file: Path
    subject: str
    is_target: bool
    part: str
    values: dict[str, float]


_DEEP_RANGE = (0.5, 99.5)  # percentiles of an image of more than 8 bits that become 0 and 1


class GroupedSource(Protocol):
    """Where the files of both groups come from."""

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What is known about the files."""

    @property
    def files(self) -> tuple[GroupedFile, ...]:
        """All files of both groups."""


class GroupedFilesData:
    """Background and target files, brought to one size.

    Images are scaled from 0..255 to [0, 1], those of more than 8 bits from two percentiles of each; volumes are
    reoriented to RAS, clipped to two percentiles and scaled.

    Args:
        source: `two_folders`, or a manifest with a column `group`.
        size: Voxels along each axis of an example.
        fit: What brings files of another size to `size`: "resize" (linear) or "crop" (around the middle; a smaller file
            is refused, as padding would tell its field of view); None refuses files of another size.
        channels: 1 for gray, 3 for color; volumes have 1.
        percentiles: Intensities of volumes are clipped to these two percentiles.
    """

    def __init__(
        self,
        source: GroupedSource,
        size: tuple[int, ...],
        fit: str | None = None,
        channels: int = 1,
        percentiles: tuple[float, float] = (1.0, 99.0),
    ):
        self.source = source
        self.size = tuple(checks.at_least("size", side, 1) for side in size)
        if len(self.size) not in (2, 3):
            raise ValueError(f"size: expected 2 numbers for images or 3 for volumes, got {size!r}")
        self.fit = checks.one_of("fit", fit, (None, "resize", "crop"))
        self.channels = checks.one_of("channels", channels, (1, 3))
        if len(self.size) == 3 and channels == 3:
            raise ValueError("channels: volumes have 1, got 3")
        self.cache = VolumeCache(checks.interval("percentiles", percentiles, 0, 100))

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What the source knows about its files."""
        return self.source.attributes

    @property
    def spec(self) -> ImageSpec:
        """Facts from the list of files."""
        names = tuple(attribute.name for attribute in self.attributes)
        return ImageSpec(len(self.size), self.channels, self.size, len(self._files("train")), attributes=names)

    def train(self) -> GroupedImages:
        """Files of the training subjects."""
        return self._part("train")

    def validation(self) -> GroupedImages:
        """Files of the validation subjects."""
        return self._part("validation")

    def test(self) -> GroupedImages:
        """Files of the test subjects; of the validation subjects if there are none."""
        return self._part("test" if self._files("test") else "validation")

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """A file of no group, prepared like the others. Raises DataError.

        `whole` is for data that crop what `fit` would: here `fit` decides.
        """
        voxels = self._read_image(file.path) if file.kind == "image" else volume_case(file, self.cache).images[0]
        return NewImage(file, self._fitted(file.path, voxels)[None])

    def _files(self, part: str) -> list[GroupedFile]:
        return [file for file in self.source.files if file.part == part]

    def _part(self, part: str) -> GroupedImages:
        files = self._files(part)

        def make(indices: Sequence[int]) -> Tensor:
            return torch.stack([self.read(files[n].file) for n in indices])

        names = [attribute.name for attribute in self.attributes]
        known = torch.tensor([[file.values.get(name, np.nan) for name in names] for file in files])
        number_of = {subject: number for number, subject in enumerate(sorted({file.subject for file in files}))}
        number = torch.tensor([number_of[file.subject] for file in files], dtype=torch.long)
        is_target = torch.tensor([file.is_target for file in files], dtype=torch.bool)
        return GroupedImages(make, is_target, known.reshape(len(files), len(names)), number, f"{self.source!r}, {part}")

    def read(self, path: Path) -> Tensor:
        """One file as (c, *size). Raises DataError if it cannot be read, or not be brought to the size."""
        is_volume = path.name.lower().endswith(VOLUME_SUFFIXES)
        return self._fitted(path, self._read_volume(path) if is_volume else self._read_image(path))

    def _fitted(self, path: Path, voxels: Tensor) -> Tensor:
        if voxels.ndim - 1 != len(self.size):
            raise DataError(
                f"{path}: has {voxels.ndim - 1} axes, expected {len(self.size)} as data.size {self.size} has. "
                "Give size 2 numbers for images, 3 for volumes."
            )
        have = tuple(voxels.shape[1:])
        if have == self.size:
            return voxels
        if self.fit == "resize":
            mode = "bilinear" if len(self.size) == 2 else "trilinear"
            is_shrunk = len(self.size) == 2 and any(a > b for a, b in zip(have, self.size, strict=True))
            return F.interpolate(voxels[None], self.size, mode=mode, antialias=is_shrunk)[0]
        if self.fit == "crop" and all(a >= b for a, b in zip(have, self.size, strict=True)):
            first = [(a - b) // 2 for a, b in zip(have, self.size, strict=True)]
            cut = tuple(slice(start, start + side) for start, side in zip(first, self.size, strict=True))
            return voxels[(slice(None), *cut)].clone()
        raise DataError(
            f"{path}: has size {have}, expected {self.size} or a rule that leads there. "
            'Set data.fit to "resize", or to "crop" with a size that no file falls below.'
        )

    def _read_image(self, path: Path) -> Tensor:
        image = open_image(path, self.channels)
        pixels = np.asarray(image, dtype=np.float32)
        if image.mode == "F":  # more than 8 bits, whatever part of them is used
            low, high = np.percentile(pixels, _DEEP_RANGE)
            pixels = 255 * np.clip((pixels - low) / max(high - low, 1e-6), 0, 1)
        pixels = np.repeat(pixels[..., None], self.channels, axis=2) if pixels.ndim == 2 else pixels
        return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)

    def _read_volume(self, path: Path) -> Tensor:
        formats.read_grid(path)
        return torch.from_numpy(np.array(self.cache.prepared(path)))[None]
