"""A volume as a stack of slices of one size, and the way back to the native grid."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.data.nifti import Grid


@dataclass(frozen=True, eq=False)
class Planes:
    """How the slices of one volume were cut: all that is needed to put labels back on its native grid.

    Attributes:
        grid: The volume's native grid.
        shape: Shape of the prepared volume, RAS axes, after resampling.
        axis: RAS axis that the slices are numbered along: 0 sagittal, 1 coronal, 2 axial.
        size: Height and width of a slice; larger planes are cropped around their centre, smaller ones padded with 0.
        upright: Slices lie as viewers show them: rows run from superior to inferior, of axial ones from anterior to
            posterior; columns from right to left, of sagittal ones from anterior to posterior. Else rows and columns
            are the other two RAS axes as they come.
    """

    grid: Grid
    shape: tuple[int, int, int]
    axis: int
    size: tuple[int, int]
    upright: bool = True

    @property
    def num_slices(self) -> int:
        """Number of slices of the volume."""
        return self.shape[self.axis]

    def uncropped(self) -> "Planes":
        """The same with slices so large that nothing is cropped."""
        rows, columns = self._plane
        return replace(self, size=(max(self.size[0], rows), max(self.size[1], columns)))

    def cut(self, voxels: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
        """Slices `(n, h, w)` of a prepared volume; all of them, or those of the given numbers."""
        stack = np.moveaxis(voxels, self.axis, 0)
        stack = self._turned(stack if numbers is None else stack[numbers])
        source, target = self._windows()
        slices = np.zeros((len(stack), *self.size), dtype=voxels.dtype)
        slices[:, target[0], target[1]] = stack[:, source[0], source[1]]
        return slices

    def cut_native(self, labels: np.ndarray) -> np.ndarray:
        """Slices `(n, h, w)` of a label array on the native grid."""
        return self.cut(resample_labels(self.grid.to_ras(labels), self.shape))

    def to_native(self, slices: np.ndarray | Tensor) -> np.ndarray:
        """Label slices `(n, h, w)` back on the native grid; 0 outside the crop.

        Raises:
            ValueError: The stack has another shape than the one that `cut` returns.
        """
        return self.grid.from_ras(resample_labels(self._whole(slices), self.grid.ras_shape))

    def values_to_native(self, slices: np.ndarray | Tensor) -> np.ndarray:
        """Values in slices `(n, h, w)`, float32, on the native grid, interpolated linearly; 0 outside the crop.

        Raises:
            ValueError: The stack has another shape than the one that `cut` returns.
        """
        return self.grid.from_ras(resample(self._whole(slices), self.grid.ras_shape))

    def _whole(self, slices: np.ndarray | Tensor) -> np.ndarray:
        """The slices put back in place, RAS axes, `shape`; 0 outside the crop."""
        stack = slices.cpu().numpy() if isinstance(slices, Tensor) else np.asarray(slices)
        if stack.shape != (self.num_slices, *self.size):
            raise ValueError(f"label_slices: expected shape {(self.num_slices, *self.size)}, got {stack.shape}")
        source, target = self._windows()
        whole = np.zeros((self.num_slices, *self._plane), dtype=stack.dtype)
        whole[:, source[0], source[1]] = stack[:, target[0], target[1]]
        return np.moveaxis(self._turned(whole), 0, self.axis)

    @property
    def _plane(self) -> list[int]:
        """Rows and columns of a slice before it is cropped and padded."""
        plane = [n for axis, n in enumerate(self.shape) if axis != self.axis]
        return plane[::-1] if self.upright else plane

    def _turned(self, stack: np.ndarray) -> np.ndarray:
        """Planes `(n, ., .)` of RAS axes as slices lie, and back: the same turn does both."""
        return stack.swapaxes(1, 2)[:, ::-1, ::-1] if self.upright else stack

    def _windows(self) -> tuple[list[slice], list[slice]]:
        """In-plane windows: of the volume's plane, and of the slice that it is copied to."""
        source, target = [], []
        for have, want in zip(self._plane, self.size, strict=True):
            length = min(have, want)
            start, stop = (have - length) // 2, (want - length) // 2
            source.append(slice(start, start + length))
            target.append(slice(stop, stop + length))
        return source, target


def resampled_shape(grid: Grid, spacing: tuple[float | None, ...] | None) -> tuple[int, int, int]:
    """RAS shape of a volume brought to `spacing` (mm along right, anterior, superior); None keeps an axis, or all."""
    if spacing is None:
        return grid.ras_shape
    first, second, third = (
        n if want is None else max(1, round(n * have / want))
        for n, have, want in zip(grid.ras_shape, grid.ras_spacing, spacing, strict=True)
    )
    return first, second, third


def resample(voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Intensities on another number of voxels over the same field of view, trilinear."""
    return _interpolate(voxels, shape, "trilinear")


def resample_labels(labels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Labels on another number of voxels over the same field of view, nearest neighbour."""
    return _interpolate(labels, shape, "nearest-exact").astype(labels.dtype)


def _interpolate(voxels: np.ndarray, shape: tuple[int, int, int], mode: str) -> np.ndarray:
    if voxels.shape == shape:
        return voxels
    tensor = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))[None, None]
    align = False if mode == "trilinear" else None
    return F.interpolate(tensor, size=shape, mode=mode, align_corners=align)[0, 0].numpy()
