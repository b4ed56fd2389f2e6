"""A volume seen whole, in 3D, and the way back to the native grid."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medgraph.data import planes
from medgraph.data.nifti import Grid


@dataclass(frozen=True, eq=False)
class Block:
    """How a whole volume was prepared: all that is needed to put labels back on its native grid.

    Attributes:
        grid: The volume's native grid.
        shape: Shape of the prepared volume, RAS axes, after resampling.
    """

    grid: Grid
    shape: tuple[int, int, int]

    def cut_native(self, labels: np.ndarray) -> np.ndarray:
        """A label array on the native grid as the model sees it, `shape`."""
        return planes.resample_labels(self.grid.to_ras(labels), self.shape)

    def to_native(self, labels: np.ndarray | Tensor) -> np.ndarray:
        """Labels `(1, *shape)` on the native grid. Raises ValueError for another shape."""
        return self.grid.from_ras(planes.resample_labels(self._whole(labels), self.grid.ras_shape))

    def values_to_native(self, values: np.ndarray | Tensor) -> np.ndarray:
        """Values `(1, *shape)` on the native grid, interpolated linearly. Raises ValueError for another shape."""
        return self.grid.from_ras(planes.resample(self._whole(values), self.grid.ras_shape))

    def _whole(self, values: np.ndarray | Tensor) -> np.ndarray:
        whole = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if whole.shape != (1, *self.shape):
            raise ValueError(f"expected a volume of shape {(1, *self.shape)}, got {whole.shape}")
        return whole[0]


def centered(voxels: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """`voxels` brought to `size` around their centre: larger axes are cropped, smaller ones padded with 0."""
    whole = np.zeros(size, dtype=voxels.dtype)
    source, place = [], []
    for have, want in zip(voxels.shape, size, strict=True):
        length = min(have, want)
        source.append(slice((have - length) // 2, (have - length) // 2 + length))
        place.append(slice((want - length) // 2, (want - length) // 2 + length))
    whole[tuple(place)] = voxels[tuple(source)]
    return whole
