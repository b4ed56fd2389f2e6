"""Files of cases, whatever their kind: find them in a folder, read them, write label maps on their own grid."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from medgraph import files
from medgraph.data import itk, nifti, pixels
from medgraph.data.listing import check_name
from medgraph.data.nifti import Grid, Volume
from medgraph.errors import DataError

_SUFFIXES = {
    "NIfTI": (".nii.gz", ".nii"),
    "NRRD": (".nrrd", ".nhdr"),
    "MetaImage": (".mha", ".mhd"),
    "image": pixels.SUFFIXES,
}
VOLUME_SUFFIXES = tuple(s for kind, suffixes in _SUFFIXES.items() if kind != "image" for s in suffixes)
_HEADERS = (".nhdr", ".mhd")  # whose voxels lie in other files
_VOXELS_IN = re.compile(r"^(?:ElementDataFile *=|data ?file *:)(.*)$(?s:(.*))", re.IGNORECASE | re.MULTILINE)
_WRITTEN = {"NIfTI": ".nii.gz", "NRRD": ".nrrd", "MetaImage": ".mha", "image": ".png", "DICOM": ".nii.gz"}
_FLAT = np.eye(4)  # a PNG knows no millimetres: pixel (row, column) lies at (row, column)


@dataclass(frozen=True)
class CaseFile:
    """A case that belongs to no part of a data set.

    Attributes:
        id: Name without ending.
        path: The file; the folder of a DICOM series.
        kind: NIfTI, NRRD, MetaImage, DICOM or image (PNG, JPEG).
        series: UID of the DICOM series; None where the folder holds one.
    """

    id: str
    path: Path
    kind: str
    series: str | None = None

    @property
    def suffix(self) -> str:
        """Ending of what is written for the case; a DICOM series gets NIfTI."""
        return _WRITTEN[self.kind]


def case_file(path: str | os.PathLike[str], series: str | None = None) -> CaseFile:
    """A file, or the folder of a DICOM series, as a case. Raises DataError for another kind of file."""
    path = Path(path)
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            if path.name.lower().endswith(suffix):
                return CaseFile(path.name[: -len(suffix)], path, kind)
    if path.is_dir():
        return CaseFile(path.resolve().name, path, "DICOM", series)
    raise DataError(
        f"{path}: is of no kind that can be read, expected NIfTI, NRRD, MetaImage, PNG, JPEG or the folder of a "
        "DICOM series. Convert it."
    )


def find_cases(folder: str | os.PathLike[str], series: str | None = None) -> tuple[list[CaseFile], list[Path]]:
    """The cases of a folder, sorted by id, and what lies there besides: either files of one kind, or DICOM series, each
    in a folder of its own or all files of one in the folder itself. What is hidden is neither.

    Raises:
        DataError: No such folder; no case; several kinds of file; two files with one id; a name that is not UTF-8.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with the cases. Check the path.")
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in (folder.resolve(), *paths):
        check_name(path)
    cases, rest = [], []
    for path in paths:
        is_file = any(path.name.lower().endswith(suffix) for some in _SUFFIXES.values() for suffix in some)
        if is_file or (path.is_dir() and itk.list_series(path)):
            cases.append(case_file(path, series))
        else:
            rest.append(path)
    if rest and itk.list_series(folder):
        cases.append(case_file(folder, series))
        rest = []
    _check_cases(folder, cases)
    return sorted(cases, key=lambda case: case.id), rest


def case_name(path: str | os.PathLike[str]) -> str:
    """Name of a file or folder without the ending of its kind."""
    name = Path(path).name
    endings = (suffix for suffixes in _SUFFIXES.values() for suffix in suffixes if name.lower().endswith(suffix))
    return name[: -len(ending)] if (ending := next(endings, "")) else name


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """All files that hold a case: itself, the slices of a DICOM series, a header, what it names, and its namesakes."""
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    if path.name.lower().endswith(_HEADERS):
        beside = set(path.parent.glob(f"{glob.escape(case_name(path))}.*")) | _named_in(path)
        return sorted(file for file in beside if file.is_file())
    return [path]


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """The native grid of a file, from its header alone; of a DICOM series, from all its slices. Raises DataError."""
    file = case_file(path)
    if file.kind == "NIfTI":
        return nifti.read_grid(file.path)
    if file.kind in ("NRRD", "MetaImage"):
        return itk.read_grid(file.path)
    states = [some.stat() for some in files_of(file.path) if some.is_file()]
    return _remembered_grid(file, tuple((state.st_mtime_ns, state.st_size) for state in states))


def read_volume(path: str | os.PathLike[str], frame: int | None = None) -> Volume:
    """A volume, or an image as one of one slice, in RAS axis order.

    Args:
        path: A file of any kind, or the folder of a DICOM series.
        frame: Which volume of a NIfTI file with four axes.

    Raises:
        DataError: As `read`; a frame is asked of another kind of file.
    """
    file = case_file(path)
    if file.kind == "NIfTI":
        return nifti.read_volume(file.path, frame)
    if frame is not None:
        raise DataError(f"{file.path}: frame {frame} asked for, but only NIfTI files have frames. Set frame to none.")
    return read(file)


def read_labels(path: str | os.PathLike[str], image: Grid, classes: tuple[str, ...]) -> np.ndarray:
    """A label file of any kind on the native grid of its image: class indices.

    Raises:
        DataError: It cannot be read, or is a DICOM series; another grid; a value is not the index of a class.
    """
    file = case_file(path)
    if file.kind == "DICOM":
        raise DataError(f"{file.path}: labels as DICOM cannot be read. Convert them to NIfTI, NRRD or MetaImage.")
    if file.kind == "image":
        values = pixels.read_mask(file.path)[..., None]
        return nifti.as_labels(file.path, values, Grid(values.shape, _FLAT), image, classes)
    return (nifti if file.kind == "NIfTI" else itk).read_labels(file.path, image, classes)


def read(file: CaseFile, frame: int | None = None) -> Volume:
    """The case in RAS axis order; an image as a volume of one slice along the last axis. Raises DataError.

    Args:
        file: The case.
        frame: Which volume, where a NIfTI file has several.
    """
    if file.kind == "NIfTI":
        return nifti.read_volume(file.path, frame if nifti.num_frames(file.path) > 1 else None)
    if file.kind == "DICOM":
        return itk.read_series(file.path, file.series)
    if file.kind == "image":
        gray = pixels.read_gray(file.path)[..., None]
        return Volume(gray, Grid(gray.shape, _FLAT), file.path)
    return itk.read_volume(file.path)


def write(path: Path, voxels: np.ndarray, grid: Grid) -> None:
    """Write an array on the native grid of a case, in the kind that the ending names; read the grid again to prove it.

    The file appears whole or not at all.

    Raises:
        DataError: What was written lies elsewhere than the case.
    """
    with files.whole(path) as temporary:
        if path.name.endswith(pixels.SUFFIXES):
            pixels.write_gray(temporary, voxels[..., 0])
            written = Grid((*pixels.read_gray(temporary).shape, 1), _FLAT)
        elif path.name.endswith(_SUFFIXES["NIfTI"]):
            nifti.write_volume(temporary, voxels, grid.affine, grid.forms)
            written = nifti.read_grid(temporary)
        else:
            itk.write_volume(temporary, voxels, grid.affine)
            written = itk.read_grid(temporary)
        if not written.same_as(grid):
            shift = float(np.abs(written.affine - grid.affine).max())
            raise DataError(
                f"{path}: this kind of file cannot hold the grid of the case (affines differ by up to {shift:.3g}). "
                "Convert the case to another kind, or repair its affine."
            )
        if grid.forms is not None and not written.told_as(grid):
            raise DataError(
                f"{path}: its header cannot tell qform, sform or unit of length as that of the case does. Repair these."
            )


@lru_cache(maxsize=10_000)
def _remembered_grid(file: CaseFile, states: tuple[tuple[int, int], ...]) -> Grid:
    """The grid of a case whose header does not tell it, for as long as the case stays as it is."""
    return read(file).grid


def _named_in(header: Path) -> set[Path]:
    """The files with voxels that a header names: one, a list that goes on below it, or a pattern such as `%03d.raw`."""
    text = header.read_bytes().decode(errors="replace") if header.is_file() else ""
    told = _VOXELS_IN.search(text)
    if told is None:
        return set()
    first, *words = told[1].split() or [""]
    if first.upper().startswith("LIST"):
        return {header.parent / line.strip() for line in told[2].splitlines() if line.strip()}
    if words and "%" in first:
        return set(header.parent.glob(re.sub(r"%\d*d", "*", glob.escape(first))))
    return {header.parent / told[1].strip()}


def _check_cases(folder: Path, cases: Sequence[CaseFile]) -> None:
    if not cases:
        raise DataError(
            f"{folder}: holds no case, expected NIfTI, NRRD, MetaImage, PNG or JPEG files, or folders with a DICOM "
            "series each."
        )
    examples = {case.kind: case.path.name for case in cases}
    if len(examples) > 1:
        named = ", ".join(f"{kind} ({name})" for kind, name in examples.items())
        raise DataError(f"{folder}: mixes kinds of file: {named}. Expected one; give each kind a folder of its own.")
    by_id: dict[str, CaseFile] = {}
    for case in cases:
        if case.id in by_id:
            raise DataError(
                f"{case.path}: has the same id {case.id!r} as {by_id[case.id].path.name}, expected one file for each."
            )
        by_id[case.id] = case
