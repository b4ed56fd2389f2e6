"""NIfTI files in and out: voxels, affine, orientation. The only importer of nibabel."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medgraph.errors import DataError

_RAS = np.array([[0, 1], [1, 1], [2, 1]])  # axis i of the array is axis i of the world, increasing
_FORMS = (  # fields of a header that say where voxels lie; readers differ in which of them they go by
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)
_UNIT_OF_LENGTH = 0b111  # of xyzt_units, whose other bits are the unit of time
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}  # in a metre, a millimetre, a micron


@dataclass(frozen=True, eq=False)
class Grid:
    """The native voxel grid of a file: its shape, and where its voxels lie in the world.

    Attributes:
        shape: Voxels along each native axis, frames left out.
        affine: Native voxel -> world (RAS, mm), `(4, 4)`.
        forms: How a NIfTI header tells that: qform and sform with their codes, voxel sizes and unit of length, by the
            header's own names. None of other files.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    forms: dict[str, np.ndarray] | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres per voxel along each native axis."""
        return _three(voxel_sizes(self.affine))

    @property
    def ras_shape(self) -> tuple[int, int, int]:
        """Voxels along each axis once reoriented to RAS."""
        return self._by_world_axis(self.shape)

    @property
    def ras_spacing(self) -> tuple[float, float, float]:
        """Millimetres per voxel along each axis once reoriented to RAS."""
        return self._by_world_axis(self.spacing)

    @property
    def ras_affine(self) -> np.ndarray:
        """Voxel -> world of the array reoriented to RAS, `(4, 4)`."""
        return self.affine @ orientations.inv_ornt_aff(self._orientation, self.shape)

    def to_ras(self, voxels: np.ndarray) -> np.ndarray:
        """Swap and flip the axes of a native array so that they run right, anterior, superior. Interpolates nothing."""
        return np.ascontiguousarray(orientations.apply_orientation(voxels, self._orientation))

    def from_ras(self, voxels: np.ndarray) -> np.ndarray:
        """The inverse of `to_ras`."""
        back = orientations.ornt_transform(_RAS, self._orientation)
        return np.ascontiguousarray(orientations.apply_orientation(voxels, back))

    def same_as(self, other: "Grid") -> bool:
        """Both grids have one shape, and their affines agree to a thousandth of a millimetre and a tenth of a voxel."""
        close = min(1e-3, 0.1 * min(self.spacing))
        return self.shape == other.shape and np.allclose(self.affine, other.affine, rtol=0, atol=close)

    def told_as(self, other: "Grid") -> bool:
        """Both headers tell their grid alike, to the precision of a NIfTI file."""
        if self.forms is None or other.forms is None:
            return self.forms is other.forms
        return all(
            np.allclose(value, other.forms[name], rtol=1e-5, atol=1e-6, equal_nan=True)
            for name, value in self.forms.items()
        )

    @property
    def _orientation(self) -> np.ndarray:
        return orientations.io_orientation(self.affine)

    def _by_world_axis(self, values: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        order = np.argsort(self._orientation[:, 0])
        return _three([values[i] for i in order])


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D image in RAS axis order.

    Attributes:
        voxels: float32, `(d, h, w)`.
        grid: The native grid that it was read from; `grid.from_ras` leads back to it.
        path: The file.
    """

    voxels: np.ndarray
    grid: Grid
    path: Path

    @property
    def affine(self) -> np.ndarray:
        """Voxel of `voxels` -> world (RAS, mm), `(4, 4)`."""
        return self.grid.ras_affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres per voxel along the axes of `voxels`."""
        return self.grid.ras_spacing


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """The native grid of a file, from its header alone. Raises DataError."""
    return _grid(Path(path), _open(Path(path)))


def num_frames(path: str | os.PathLike[str]) -> int:
    """Volumes of a file, from its header alone: 1 with three axes. Raises DataError."""
    image = _open(Path(path))
    _grid(Path(path), image)
    return _num_frames(image)


def read_volume(path: str | os.PathLike[str], frame: int | None = None) -> Volume:
    """Read a volume, reoriented to RAS.

    Args:
        path: A `.nii` or `.nii.gz` file.
        frame: Which volume of a file with four axes, counted from 0.

    Raises:
        DataError: Missing, damaged or other file; four axes and no frame; voxels not finite; all voxels equal.
    """
    path = Path(path)
    image = _open(path)
    grid = _grid(path, image)
    voxels = _decode(path, image, frame).astype(np.float32)
    check_intensities(path, voxels)
    return Volume(grid.to_ras(voxels), grid, path)


def check_intensities(path: Path, voxels: np.ndarray) -> None:
    """Raise DataError for voxels that are not finite, or all equal."""
    bad = int(voxels.size - np.isfinite(voxels).sum())
    if bad:
        raise DataError(
            f"{path}: {bad} of {voxels.size} voxels are NaN or infinite, expected finite intensities. "
            "Replace them, or leave this volume out."
        )
    if voxels.min() == voxels.max():
        raise DataError(
            f"{path}: all voxels are {voxels.min():g}, expected an image with contrast. Leave this volume out."
        )


def read_labels(path: str | os.PathLike[str], image: Grid, classes: tuple[str, ...]) -> np.ndarray:
    """Read a label file on the native grid of its image: class indices, `image.shape`, uint8 or int32.

    Raises:
        DataError: As `read_volume`; the grid differs from the image's; a value is not the index of a class.
    """
    path = Path(path)
    file = _open(path)
    return as_labels(path, _decode(path, file, None), _grid(path, file), image, classes)


def as_labels(path: Path, values: np.ndarray, grid: Grid, image: Grid, classes: tuple[str, ...]) -> np.ndarray:
    """The values of a label file as class indices. Raises DataError where grid or values are not the image's."""
    if not grid.same_as(image):
        shift = float(np.abs(grid.affine - image.affine).max())
        raise DataError(
            f"{path}: label grid {grid.shape} with spacing {_short(grid.spacing)}, expected that of its image, "
            f"{image.shape} with spacing {_short(image.spacing)} (affines differ by up to {shift:.3g}). "
            "Resample the labels to the image, nearest neighbour."
        )
    found = np.unique(values)
    outside = [f"{value:g}" for value in found if value not in range(len(classes))]
    if outside:
        raise DataError(
            f"{path}: label values {', '.join(outside[:8])}, expected 0 to {len(classes) - 1} "
            f"for the classes {', '.join(classes)}. Declare the missing classes, or map the values."
        )
    return values.astype(np.uint8 if len(classes) <= 256 else np.int32)


def write_volume(
    path: str | os.PathLike[str],
    voxels: np.ndarray,
    affine: np.ndarray,
    forms: dict[str, np.ndarray] | None = None,
) -> None:
    """Write an array on its native grid, in the array's own type.

    The header tells the grid by `forms`, of a `Grid`; without them, both qform and sform carry `affine`.
    """
    image = nib.Nifti1Image(voxels, affine if forms is None else None)
    if forms is None:
        image.set_qform(affine)
        image.set_sform(affine)
    else:
        for name in _FORMS:
            image.header[name] = forms[name]
        image.header["pixdim"][:4] = forms["pixdim"]
        image.header["xyzt_units"] = forms["xyzt_units"]
    nib.save(image, path)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected a NIfTI volume. Check the path and the data's root.")
    try:
        return nib.load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: is not a NIfTI file ({_one_line(error)}), expected a .nii or .nii.gz volume. "
            "Fetch it again, or convert it."
        ) from error


def _grid(path: Path, image: Any) -> Grid:
    affine = np.array(image.affine, dtype=np.float64)
    if len(image.shape) not in (3, 4):
        raise DataError(f"{path}: has {len(image.shape)} axes, expected 3 (depth, height, width). Is it a volume?")
    if min(image.shape) < 1:
        raise DataError(f"{path}: has the shape {image.shape}, expected one voxel or more along each axis. Repair it.")
    kind = image.get_data_dtype()
    if kind.fields is not None or kind.kind == "c":
        what = "complex numbers" if kind.kind == "c" else "colors"
        raise DataError(
            f"{path}: its voxels are {what}, expected one number for each. Save one channel, or magnitudes."
        )
    good = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) >= 1e-9
    if not good or np.isnan(orientations.io_orientation(affine)).any():  # two axes all but along one line
        raise DataError(f"{path}: its affine cannot be inverted, expected one voxel size per axis. Repair the header.")
    forms = _forms(image.header)
    unit = 2 if forms is None else int(forms["xyzt_units"])
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)  # nibabel leaves the unit to us; a header that tells none means mm
    return Grid(_three([int(n) for n in image.shape[:3]]), affine, forms)


def _forms(header: Any) -> dict[str, np.ndarray] | None:
    if not isinstance(header, nib.Nifti1Header):
        return None
    forms = {name: np.array(header[name]) for name in _FORMS}
    unit = np.array(header["xyzt_units"] & _UNIT_OF_LENGTH)
    return {**forms, "pixdim": np.array(header["pixdim"][:4]), "xyzt_units": unit}


def _decode(path: Path, image: Any, frame: int | None) -> np.ndarray:
    """The voxels of one frame; scl_slope and scl_inter applied, where NaN means none."""
    count = _num_frames(image)
    if count > 1 and frame is None:
        raise DataError(
            f"{path}: has 4 axes with {count} frames, expected 3 (depth, height, width). "
            f"Name the one to read: frame, 0 to {count - 1}."
        )
    if frame is not None and not 0 <= frame < count:
        raise DataError(f"{path}: frame {frame} asked for, expected 0 to {count - 1}. Change frame.")
    try:
        voxels = np.asanyarray(image.dataobj if len(image.shape) == 3 else image.dataobj[..., frame or 0])
    except (OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: ends early or is damaged ({_one_line(error)}), expected {image.shape} voxels. Fetch it again."
        ) from error
    return voxels


def _num_frames(image: Any) -> int:
    return image.shape[3] if len(image.shape) == 4 else 1


def _three(values: Any) -> tuple[Any, Any, Any]:
    first, second, third = (value.item() if isinstance(value, np.generic) else value for value in values)
    return first, second, third


def _short(spacing: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in spacing) + ")"


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
