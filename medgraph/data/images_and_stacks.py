"""Images and volumes side by side: every step sees a batch of each."""

from collections.abc import Sequence
from typing import Any

from medgraph import checks
from medgraph.data.batches import ImageStackBatch
from medgraph.data.formats import CaseFile
from medgraph.data.loader import draw_batches
from medgraph.data.spec import ImageSpec, settled
from medgraph.errors import ConfigError, DataError


class ImageStackData:
    """A set of volumes, and a set of images or slices, for training on both at once.

    An epoch is one pass over the volumes; `train.batch_size` counts volumes. Images are drawn anew each epoch.

    Args:
        image_data: Images and single slices.
        volume_data: Volumes.
        images_per_batch: Images that join each batch of volumes.
    """

    def __init__(self, image_data: Any, volume_data: Any, images_per_batch: int = 128):
        self.image_data, self.volume_data = image_data, volume_data
        self.images_per_batch = checks.at_least("images_per_batch", images_per_batch, 1)

    @property
    def spec(self) -> ImageSpec:
        """Facts of both; `num_examples` counts images and single slices. Raises ConfigError where they do not agree."""
        images, volumes = self.image_data.spec, self.volume_data.spec
        if not volumes.num_volumes or images.num_volumes:
            raise ConfigError(
                "expected images or slices as image_data and volumes (`stacks`) as volume_data, "
                f"got {images.num_volumes} and {volumes.num_volumes} volumes."
            )
        if images.channels != volumes.channels:
            raise ConfigError(
                f"image_data has {images.channels} channels, volume_data {volumes.channels}. Give both the same."
            )
        if images.num_examples < self.images_per_batch:
            raise ConfigError(
                f"images_per_batch: {self.images_per_batch}, but image_data has {images.num_examples} training images. "
                "Lower it, or give more."
            )
        return ImageSpec(
            volumes.spatial_dims,
            volumes.channels,
            volumes.size,
            images.num_examples,
            num_volumes=volumes.num_volumes,
            num_slices=volumes.num_slices,
        )

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        inner = {"image_data": self.image_data, "volume_data": self.volume_data}
        return {**node, **{name: settled(data, node[name]) for name, data in inner.items()}}

    def new_case(self, file: CaseFile, whole: bool = False) -> Any:
        """A file of no part, prepared like the volumes; an image, like the images. Raises DataError."""
        return (self.image_data if file.kind == "image" else self.volume_data).new_case(file, whole)

    def train(self) -> "ImagesAndStacks":
        """The training parts."""
        return ImagesAndStacks(self.image_data.train(), self.volume_data.train(), self.images_per_batch)

    def validation(self) -> "ImagesAndStacks":
        """The validation parts."""
        return ImagesAndStacks(self.image_data.validation(), self.volume_data.validation(), self.images_per_batch)

    def test(self) -> "ImagesAndStacks":
        """The test parts."""
        return ImagesAndStacks(self.image_data.test(), self.volume_data.test(), self.images_per_batch)


class ImagesAndStacks:
    """Volumes first, then images, in one row of positions.

    Args:
        images: Dataset of images.
        volumes: Dataset of volumes.
        images_per_batch: Images that join each batch of volumes.
    """

    def __init__(self, images: Any, volumes: Any, images_per_batch: int):
        self._images, self._volumes, self.images_per_batch = images, volumes, images_per_batch

    def __len__(self) -> int:
        return len(self._volumes) + len(self._images)

    def __getitems__(self, indices: Sequence[int]) -> ImageStackBatch:
        volumes = [i for i in indices if i < len(self._volumes)]
        images = [i - len(self._volumes) for i in indices if i >= len(self._volumes)]
        return ImageStackBatch(
            self._images.__getitems__(images) if images else None,
            self._volumes.__getitems__(volumes) if volumes else None,
        )

    def draw_batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """One pass over the volumes, `batch_size` at a time, each with its images."""
        of_volumes = draw_batches(self._volumes, batch_size, seed, epoch)
        of_images: list[list[int]] = []
        turn = 0
        while len(of_images) < len(of_volumes):  # few images are walked several times, in a new order each time
            try:
                of_images += draw_batches(self._images, self.images_per_batch, seed + 1, epoch + 100_003 * turn)
            except DataError as error:
                raise DataError(f"image_data, of which data.images_per_batch makes a batch: {error}") from error
            turn += 1
        start = len(self._volumes)
        return [v + [start + i for i in images] for v, images in zip(of_volumes, of_images, strict=False)]
