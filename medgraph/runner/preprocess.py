"""From a file to the tensor that an encoder expects: what its training did to its own files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from medgraph import config
from medgraph.data import formats
from medgraph.errors import CheckpointError


class Preprocess:
    """Prepares new files as the data of a training were prepared. `encoder(preprocess(path))` gives the features.

    Slices come as `(n, c, h, w)`, an image as `(1, c, h, w)`, a volume as `(1, c, d, h, w)`, and for an encoder that
    looks across slices as `(1, n, c, h, w)`.

    Args:
        data_node: The resolved `data` of the training; None where it was not kept.
        seed: Seed of the run.
        stacked: The encoder takes whole stacks of slices.
        source: Where the encoder was read from, for messages.
    """

    def __init__(self, data_node: dict[str, Any] | None, seed: int, stacked: bool, source: Path):
        self._node, self._seed, self._stacked, self._source = data_node, seed, stacked, source
        self._data: Any = None

    def __repr__(self) -> str:
        return f"Preprocess({self._source})"

    def changed(self, changes: Sequence[str]) -> "Preprocess":
        """The same with changes to the training's data part, `like=1` say, the set of several that files belong to.

        Raises:
            ConfigError: A key or a value does not fit.
            CheckpointError: The data part was not kept.
        """
        if self._node is None:
            raise CheckpointError(
                f"{self._source}: its training data are not recorded here, so nothing can be changed."
            )
        node = config.with_changes(self._node, "data", changes, "data")
        return Preprocess(node, self._seed, self._stacked, self._source)

    def __call__(self, path: str | os.PathLike[str]) -> Tensor:
        """The tensor of a file, or of the folder of a DICOM series.

        Raises:
            DataError: The file cannot be read.
            CheckpointError: The training saw no files, so nothing says how to prepare one.
        """
        return self.images(formats.case_file(path))

    def images(self, file: formats.CaseFile) -> Tensor:
        """The same of a case that was found in a folder."""
        data = self.data()
        if not hasattr(data, "new_case"):
            why = "its training data are not recorded here, as of adopted weights"
            if self._node is not None:
                why = f"the encoder was trained on `{self._node['name']}`, which reads no single files"
            raise CheckpointError(
                f"{self._source}: {why}, so nothing says how to prepare one. Make the tensor yourself and call the "
                "encoder."
            )
        images = data.new_case(file).images
        return images[None] if self._stacked else images

    def data(self) -> Any:
        """The data part of the training, not read; None where it was not kept."""
        if self._data is None and self._node is not None:
            self._data = config.build(self._node, "data", seed=self._seed)
        return self._data
