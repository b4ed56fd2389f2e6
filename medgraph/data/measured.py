"""Images or volumes with one number each: a folder with a list, or one .npz file."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.classified import PREFIX, ArrayParts, Classified, draw_labelled, read_arrays
from medgraph.data.formats import CaseFile
from medgraph.data.images import ImageFolderData
from medgraph.data.label_counts import label_count
from medgraph.data.spec import ImageSpec
from medgraph.data.unseen import NewImage
from medgraph.errors import DataError


class MeasuredFolderData:
    """The images of a folder whose list gives each a number, see `images`; few of the numbers are used to train.

    Args:
        root: The folder, with `labels.csv`: file, split (train, val, test) and the column with the numbers.
        column: That column.
        seed: Draws which training images are labelled; filled by the builder.
        unit: Unit of the numbers, for tables and plots.
        size: Height and width.
        channels: 1 reads gray, 3 color.
        num_labelled: Training images whose number may be used, or a share of them; None takes all. Those of a smaller
            number are among those of a larger.
        percentiles: Intensities are clipped to these two percentiles of the image before scaling.
        test_part: Part that is scored: "test", or "validation" where the list has no test part.
    """

    def __init__(
        self,
        root: str,
        column: str,
        seed: int,
        unit: str = "",
        size: tuple[int, int] = (48, 48),
        channels: int = 1,
        num_labelled: int | float | None = None,
        percentiles: tuple[float, float] = (0.5, 99.5),
        test_part: str = "test",
    ):
        self.column, self.seed, self.unit = column, seed, unit
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))
        self.folder = ImageFolderData(root, "labels.csv", size, channels, percentiles)

    @property
    def files(self):  # type: ignore[no-untyped-def]  # as ImageFolderData
        """All images of the folder."""
        return self.folder.files

    @property
    def spec(self) -> ImageSpec:
        """Facts from the list alone. Raises DataError for a number that is none, in any part."""
        facts = self.folder.spec
        for file in self.files:
            self._number(file)
        count = label_count(self.num_labelled, facts.num_examples)
        return ImageSpec(2, facts.channels, facts.size, count, target=_named(self.column, self.unit))

    def train(self) -> Classified:
        """The labelled training images."""
        images, numbers = self._part("train")
        return Classified(images, numbers, _drawn(numbers, self.num_labelled, self.seed))

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where there are not so many training images."""
        _drawn(torch.zeros(len(self.folder.of_part("train"))), num_labelled, self.seed)

    def validation(self) -> Classified:
        """The validation images."""
        return Classified(*self._part("validation"))

    def test(self) -> Classified:
        """The images to score."""
        return Classified(*self._part(self.test_part))

    def new_case(self, file: CaseFile, whole: bool = False) -> NewImage:
        """A PNG or JPEG file of no part, prepared like the others. Raises DataError."""
        return self.folder.new_case(file, whole)

    def _part(self, part: str) -> tuple[Tensor, Tensor]:
        images = getattr(self.folder, part)()
        numbers = torch.tensor([self._number(file) for file in self.folder.of_part(part)])
        return images.__getitems__(range(len(images))).images, numbers

    def _number(self, file):  # type: ignore[no-untyped-def]  # an ImageFile
        if self.column not in file.row:
            columns = ", ".join(file.row)
            raise DataError(f"{self.folder.root}: labels.csv has the columns {columns}, expected {self.column!r}.")
        word = file.row[self.column]
        try:
            value = float(word)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise DataError(
                f"{self.folder.root}: labels.csv: {self.column} of {file.path.name} is {word!r}, expected a finite "
                "number. Fill it in, or remove the line."
            )
        return value


class MeasuredArraysData(ArrayParts):
    """One .npz file with `train_images`, numbers as `train_labels`, and the same for `val` and `test`.

    Images are laid out as `classified_arrays` has them, and scaled to [0, 1].

    Args:
        path: The file.
        seed: Draws which training images are labelled; filled by the builder.
        measure: What the numbers are, with their unit.
        num_labelled: As `measured_folder`.
        test_part: Part that is scored: "test", or "validation" where the file has no test part.
    """

    def __init__(
        self, path: str, seed: int, measure: str, num_labelled: int | float | None = None, test_part: str = "test"
    ):
        self.path, self.seed, self.measure = path, seed, measure
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.test_part = checks.one_of("test_part", test_part, ("test", "validation"))

    @property
    def spec(self) -> ImageSpec:
        """Facts from the training arrays. Raises DataError for a number that is not finite, in any part."""
        for part, (_, numbers) in self._arrays.items():
            if not numbers.isfinite().all():
                raise DataError(
                    f"{self.path}: {PREFIX[part]}_labels holds numbers that are not finite. Leave them out."
                )
        images = self._arrays["train"][0]
        count = label_count(self.num_labelled, len(images))
        return ImageSpec(images.ndim - 2, images.shape[1], tuple(images.shape[2:]), count, target=self.measure)

    def train(self) -> Classified:
        """The labelled training images."""
        images, numbers = self._arrays["train"]
        return Classified(images, numbers, _drawn(numbers, self.num_labelled, self.seed))

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """As `measured_folder`. Raises DataError."""
        _drawn(self._arrays["train"][1], num_labelled, self.seed)

    @cached_property
    def _arrays(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {part: (images, numbers.float()) for part, (images, numbers) in read_arrays(self.path).items()}


def _drawn(numbers: Tensor, num_labelled: int | float | None, seed: int) -> np.ndarray:
    return draw_labelled(torch.zeros(len(numbers), dtype=torch.long), num_labelled, seed)


def _named(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name
