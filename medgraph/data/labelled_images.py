"""2D images with a class for each pixel: PNG or JPEG files and their masks."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medgraph import checks
from medgraph.data import nifti, pixels
from medgraph.data.batches import LabelledImageBatch, VolumeCase
from medgraph.data.formats import CaseFile
from medgraph.data.images import ImageFile, ImageFolderData
from medgraph.data.label_counts import label_count, told_count
from medgraph.data.nifti import Grid
from medgraph.data.planes import Planes
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewCase
from medgraph.data.volumes import prepare
from medgraph.errors import DataError

_AXIS = 2  # an image is one slice along the last axis of (h, w, 1)


class LabelledImageData:
    """Images in `images/` and, under the same names, masks in `masks/`, as PNG.

    Intensities are prepared as those of volumes and of `images` are: clipped to percentiles, z-scored, mapped to
    [0, 1]. Predictions and scores are made on the pixels of the file.

    Args:
        root: The folder that holds `images/` and `masks/`.
        classes: Names of the mask values 0, 1, ..., background first.
        seed: Draws the order of the training images; filled by the builder.
        binary: Any mask value above 0 is class 1: for masks that hold 0 and 255, or number their objects.
        index: A CSV file in the folder with the columns `file` and `split` (train, val, test); None takes all images
            and splits them by fixed fractions.
        size: Height and width of a training example.
        fit: What brings images to that size: "crop" around the centre, smaller ones padded with 0, keeps the scale;
            "resize" scales the whole image to fit, as `images` does, and pads.
        channels: 1 reads gray, 3 color.
        num_labelled: Number of training images whose masks may be used, or their share: 0.1 takes a tenth, rounded up;
            None takes all. Those of a smaller number are among those of a larger.
        percentiles: Intensities are clipped to these two percentiles of the image before scaling.
        fractions: Fractions of images in train, validation and test, without a CSV file.
        split_seed: Draws that split; independent of the seed of a run.
        test_part: Part that is scored: "test", or "validation" where the list has no test part.
        score_range: Standard scores that become 0 and 1.
    """

    def __init__(
        self,
        root: str,
        classes: tuple[str, ...],
        seed: int,
        binary: bool = False,
        index: str | None = "labels.csv",
        size: tuple[int, int] = (128, 128),
        fit: str = "crop",
        channels: int = 1,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        split_seed: int = 0,
        test_part: str = "test",
        score_range: tuple[float, float] = (-3.0, 3.0),
    ):
        self.root, self.seed, self.binary = root, seed, binary
        self.classes = tuple(classes)
        if len(self.classes) < 2 or (binary and len(self.classes) > 2):
            wanted = "background and one more, as binary knows no third" if binary else "background and at least one"
            raise ValueError(f"classes: expected {wanted}, got {list(self.classes)}")
        self.fit = checks.one_of("fit", fit, ("crop", "resize"))
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self._root = Path(os.path.expanduser(root))
        listed = str(self._root if index is not None else self._root / "images")
        self.folder = ImageFolderData(listed, index, size, channels, percentiles, fractions, split_seed, score_range)
        self.size, self.channels, self.percentiles = self.folder.size, self.folder.channels, self.folder.percentiles

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """All images and masks."""
        images = self.folder.files
        return images + tuple(ImageFile(self._mask(image), image.part, None) for image in images)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the list and the names of files. Raises DataError for an image without mask."""
        return ImageSpec(2, self.channels, self.size, len(self._labelled(self.num_labelled)), self.classes)

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where there are not so many training images."""
        self._labelled(num_labelled)

    def check_test(self) -> None:
        """Read the masks that will be scored. Raises DataError for a value without class, or another size."""
        for file in self._with_masks(self.test_part):
            image = pixels.open_image(file.path, self.channels)
            self._labels(file, (image.height, image.width))

    def train(self) -> "LabelledImages":
        """The labelled training images."""
        cases = [self._case(file) for file in self._labelled(self.num_labelled)]
        labels = [case.record.cut_native(case.labels) for case in cases]
        return LabelledImages(torch.cat([case.images for case in cases]), torch.from_numpy(np.concatenate(labels)))

    def validation(self) -> "ImageCases":
        """The validation images, whole."""
        return ImageCases(self, self._with_masks("validation"))

    def test(self) -> "ImageCases":
        """The images to score, whole."""
        return ImageCases(self, self._with_masks(self.test_part))

    def new_case(self, file: CaseFile, whole: bool = False) -> NewCase:
        """A PNG or JPEG file of no part, prepared like the others; `whole` crops nothing. Raises DataError."""
        if file.kind != "image":
            raise DataError(f"{file.path}: is a volume, but the model was trained on images. Give PNG or JPEG files.")
        images, record = self._prepared(file.path, whole)
        return NewCase(file, images, record)

    def case(self, file: ImageFile) -> VolumeCase:
        """An image as it is scored: whole, with its mask. Raises DataError."""
        return self._case(file, whole=True)

    def _case(self, file: ImageFile, whole: bool = False) -> VolumeCase:
        images, record = self._prepared(file.path, whole)
        height, width, _ = record.grid.shape
        labels = self._labels(file, (height, width))[..., None]
        name = self._name(file).with_suffix("").as_posix()
        return VolumeCase(name, images, labels, record, (1.0, 1.0, 1.0), record.grid.affine, unit="px")

    def _prepared(self, path: Path, whole: bool) -> tuple[Tensor, Planes]:
        """Prepared pixels (1, c, h, w), and the way back."""
        image = pixels.open_image(path, self.channels)
        native = (image.height, image.width)
        shape = native
        if self.fit == "resize":
            share = min(self.size[0] / native[0], self.size[1] / native[1])
            shape = (max(1, round(native[0] * share)), max(1, round(native[1] * share)))
            image = image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        try:
            voxels = prepare(np.asarray(image, dtype=np.float32), self.percentiles, self.folder.score_range)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        size = (max(self.size[0], shape[0]), max(self.size[1], shape[1])) if whole else self.size
        record = Planes(Grid((*native, 1), np.eye(4)), (*shape, 1), _AXIS, size, upright=False)
        channels = np.broadcast_to(np.atleast_3d(voxels), (*shape, self.channels))  # deep images are gray
        cut = [record.cut(channels[..., index : index + 1])[0] for index in range(self.channels)]
        return torch.from_numpy(np.stack(cut))[None], record

    def _labels(self, file: ImageFile, size: tuple[int, int]) -> np.ndarray:
        """Class indices (h, w) of an image's mask. Raises DataError."""
        path = self._mask(file)
        values = pixels.read_mask(path)
        if values.shape != size:
            raise DataError(
                f"{path}: has {values.shape[0]} x {values.shape[1]} pixels, expected {size[0]} x {size[1]} as its "
                "image has. Bring it to that size, nearest neighbour."
            )
        values = (values > 0).astype(np.uint8) if self.binary else values
        grid = Grid((*size, 1), np.eye(4))
        return nifti.as_labels(path, values[..., None], grid, grid, self.classes)[..., 0]

    def _labelled(self, num_labelled: int | float | None) -> list[ImageFile]:
        """The training images whose masks are used, in drawn order. Raises DataError."""
        files = self._with_masks("train")
        count = label_count(num_labelled, len(files))
        if num_labelled is not None and count > len(files):
            raise DataError(
                f"{self.root}: num_labelled is {told_count(num_labelled, len(files))}, expected at most {len(files)}, "
                "the number of training images. Lower num_labelled, or give more data."
            )
        order = np.random.default_rng(self.seed).permutation(len(files))
        return [files[i] for i in order[:count]]

    def _with_masks(self, part: str) -> Sequence[ImageFile]:
        files = self.folder.of_part(part)
        self._check_names()
        bare = [file for file in files if not self._mask(file).is_file()]
        if bare:
            raise DataError(
                f"{bare[0].path}: image without mask ({len(bare)} of {len(files)} in the part {part!r}), expected "
                f"{self._mask(bare[0])}. Add it, or leave the image out."
            )
        return files

    def _check_names(self) -> None:
        """Raise DataError for two images of any part that would share a mask, and a name in tables."""
        first: dict[Path, ImageFile] = {}
        for file in self.folder.files:
            other = first.setdefault(self._mask(file), file)
            if other is not file:
                raise DataError(
                    f"{file.path}: has the mask {self._mask(file).name} as {other.path.name} has, expected one image "
                    "for each mask. Rename one and its mask, or leave it out."
                )

    def _mask(self, file: ImageFile) -> Path:
        """Where the mask of an image lies: the same name in `masks/`, as PNG."""
        return (self._root / "masks" / self._name(file)).with_suffix(".png")

    def _name(self, file: ImageFile) -> Path:
        """Path of an image below `images/`, or below the folder where the list names it there."""
        images = self._root / "images"
        return file.path.relative_to(images if file.path.is_relative_to(images) else self._root)


class LabelledImages:
    """Images with their masks, held in memory.

    Args:
        images: `(n, c, h, w)`.
        labels: Class indices, `(n, h, w)`.
    """

    def __init__(self, images: Tensor, labels: Tensor):
        self._images, self._labels = images, labels
        self.ids = torch.arange(len(images))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> LabelledImageBatch:
        index = torch.as_tensor(indices, dtype=torch.long)
        return LabelledImageBatch(self.ids[index], self._images[index], self._labels[index].long())


class ImageCases(Sequence[VolumeCase]):
    """Whole labelled images, each read when it is asked for.

    Args:
        data: Prepares them.
        files: The images.
    """

    def __init__(self, data: LabelledImageData, files: Sequence[ImageFile]):
        self._data, self._files = data, files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # one case, or a slice of the sequence
        return (
            ImageCases(self._data, self._files[index])
            if isinstance(index, slice)
            else self._data.case(self._files[index])
        )
