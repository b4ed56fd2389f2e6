"""NRRD and MetaImage files in and out, DICOM series in, to the same record as NIfTI. The only importer of SimpleITK."""

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from medgraph.data.listing import check_name
from medgraph.data.nifti import Grid, Volume, as_labels, check_intensities
from medgraph.errors import DataError

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # of files that are no DICOM, on stderr; errors are raised as before

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world runs left, posterior, superior
_POSITION, _DESCRIPTION = "0020|0032", "0008|103e"


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """The native grid of a file, from its header alone. Raises DataError."""
    path = Path(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return _grid(path, reader, reader.GetNumberOfComponents())


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read an NRRD or MetaImage file, reoriented to RAS.

    Raises:
        DataError: Missing, damaged or other file; not three axes; several values per voxel; voxels not finite or equal.
    """
    return _volume(Path(path), _execute(Path(path)))


def read_labels(path: str | os.PathLike[str], image: Grid, classes: tuple[str, ...]) -> np.ndarray:
    """Read an NRRD or MetaImage label file as `nifti.read_labels` does a NIfTI file. Raises DataError."""
    path = Path(path)
    found = _execute(path)
    grid = _grid(path, found, found.GetNumberOfComponentsPerPixel())
    return as_labels(path, sitk.GetArrayFromImage(found).transpose(2, 1, 0), grid, image, classes)


def list_series(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The DICOM series of a folder, subfolders left out: description by series UID; empty where there is none."""
    return _described(_files_by_series(Path(folder)))


def read_series(folder: str | os.PathLike[str], series: str | None = None) -> Volume:
    """Read a DICOM series, slices ordered by position and rescaled to their unit, reoriented to RAS.

    Args:
        folder: Holds the files of the series.
        series: UID of the series to read; None where the folder holds one.

    Raises:
        DataError: No series, several and none chosen; a file is damaged, a slice missing; as `read_volume`.
    """
    folder = Path(folder)
    files = _files_by_series(folder)
    _check_files(folder, files)
    uid = _choose(folder, files, series)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files[uid])
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(folder, error) from error
    _check_spacing(folder, reader, image)
    return _volume(folder, image)


def write_volume(path: str | os.PathLike[str], voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write an array on its native grid, in the array's own type, as NRRD or MetaImage by the ending of `path`."""
    world = _TO_RAS @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def _execute(path: Path) -> sitk.Image:
    try:
        return _reader(path).Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def _reader(path: Path) -> sitk.ImageFileReader:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected an NRRD or MetaImage volume. Check the path.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(check_name(path)))
    return reader


def _volume(path: Path, image: sitk.Image) -> Volume:
    grid = _grid(path, image, image.GetNumberOfComponentsPerPixel())
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    check_intensities(path, voxels)
    return Volume(grid.to_ras(voxels), grid, path)


def _grid(path: Path, image: sitk.Image | sitk.ImageFileReader, num_values: int) -> Grid:
    if image.GetDimension() != 3 or num_values != 1:
        raise DataError(
            f"{path}: has {image.GetDimension()} axes and {num_values} values per voxel, "
            "expected 3 axes (depth, height, width) and 1 value. Is it a volume? Take one frame or channel first."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    first, second, third = (int(n) for n in image.GetSize())
    return Grid((first, second, third), _TO_RAS @ affine)


def _files_by_series(folder: Path) -> dict[str, tuple[str, ...]]:
    """The files of each DICOM series, in order of position; a file that cannot be read is in none."""
    known = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(check_name(folder)))
    return {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in sorted(known)}


def _described(files: dict[str, tuple[str, ...]]) -> dict[str, str]:
    found = {}
    for uid, names in files.items():
        first = sitk.ImageFileReader()
        first.SetFileName(names[0])
        first.ReadImageInformation()
        found[uid] = first.GetMetaData(_DESCRIPTION).strip() if first.HasMetaDataKey(_DESCRIPTION) else ""
    return found


def _check_files(folder: Path, files: dict[str, tuple[str, ...]]) -> None:
    """Raise DataError for a DICOM file in no series: a damaged slice at an end would be left out unseen."""
    read = {Path(name).name for names in files.values() for name in names}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.name not in read and file.is_file() and _is_slice(file):
            raise DataError(
                f"{file}: cannot be read as a DICOM image, expected a slice as the other files of its folder are. "
                "Fetch it again, or take it out of the folder if it is no slice."
            )


def _is_slice(file: Path) -> bool:
    """Whether a file calls itself DICOM, by its ending or its first bytes, and is neither hidden nor an index."""
    if file.name.startswith(".") or file.name.upper() == "DICOMDIR":
        return False
    with file.open("rb") as stream:
        return file.suffix.lower() == ".dcm" or stream.read(132)[128:] == b"DICM"


def _choose(folder: Path, files: dict[str, tuple[str, ...]], series: str | None) -> str:
    found = _described(files)
    named = "; ".join(f"{uid} ({words or 'no description'})" for uid, words in found.items())
    if not found:
        raise DataError(f"{folder}: holds no DICOM series, expected the files of one. Check the path.")
    if series is None and len(found) > 1:
        raise DataError(
            f"{folder}: holds {len(found)} DICOM series, expected one: {named}. Which? Name its UID (`--series` of "
            "predict and embed), or give it a folder of its own."
        )
    if series is not None and series not in found:
        raise DataError(f"{folder}: holds no DICOM series {series!r}. There are: {named}.")
    return next(iter(found)) if series is None else series


def _check_spacing(folder: Path, reader: sitk.ImageSeriesReader, image: sitk.Image) -> None:
    """Slices lie at equal distances, or one is missing. Raises DataError."""
    count = len(reader.GetFileNames())
    if count < 3 or not reader.HasMetaDataKey(0, _POSITION):
        return
    normal = np.reshape(image.GetDirection(), (3, 3))[:, 2]
    positions = [np.array(reader.GetMetaData(i, _POSITION).split("\\"), dtype=float) @ normal for i in range(count)]
    gaps = np.abs(np.diff(positions))
    if gaps.max() - gaps.min() > 0.05 * gaps.min() + 1e-3:
        raise DataError(
            f"{folder}: its slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart, expected equal distances: "
            "a slice is missing or twice there. Fetch the series again."
        )


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    words = str(error).strip().splitlines()[-1].strip()
    if "No such file" in words and path.exists():  # what MetaImage says
        words = "its voxels are not there, or end early"
    return DataError(f"{path}: cannot be read ({words}), expected an NRRD, MetaImage or DICOM volume. Fetch it again.")
