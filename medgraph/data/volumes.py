"""Prepared volumes: the deterministic part of reading (spacing, clip, scale), cached on disk as mapped arrays."""

import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medgraph import checks
from medgraph.data import formats, planes
from medgraph.errors import DataError

_VERSION = 1  # raise it when `prepare` computes something else: old cache files are then not found
_STALE_SECONDS = 3600  # an unfinished file older than this was left by a process that died


@dataclass(frozen=True)
class CacheReport:
    """What a cache did since it was made, and how much its folder holds.

    Attributes:
        hits: Volumes found ready.
        misses: Volumes prepared anew.
        bytes: Size of all cached volumes in the folder.
        folder: Where they lie.
    """

    hits: int
    misses: int
    bytes: int
    folder: Path


class VolumeCache:
    """Prepares volumes once and maps them from disk afterwards.

    The key is the content of the file and every parameter, so a changed file or setting is never served old voxels.
    Files appear whole or not at all, so several processes may share a folder. When the folder grows above `max_bytes`,
    the volumes that were not used for longest go.

    Args:
        percentiles: Intensities are clipped to these two percentiles of the volume.
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps the voxels.
        folder: Where to cache; None means the environment variable MEDGRAPH_CACHE, or ~/.cache/medgraph.
        max_bytes: Most that the folder may hold.
    """

    def __init__(
        self,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: tuple[float, float, float] | None = None,
        folder: str | os.PathLike[str] | None = None,
        max_bytes: int = 20 * 2**30,
    ):
        self.percentiles = checks.interval("percentiles", percentiles, 0, 100)
        self.spacing = None if spacing is None else tuple(checks.positive("spacing", value) for value in spacing)
        self.folder = default_folder() if folder is None else Path(folder)
        self.max_bytes = checks.positive("max_bytes", max_bytes)
        self._hits = self._misses = 0

    def prepared(self, path: str | os.PathLike[str], frame: int | None = None) -> np.ndarray:
        """Voxels in [0, 1], float32, RAS axes, mapped read-only. Raises DataError as `formats.read_volume`."""
        path = Path(path)
        file = self.folder / f"{self._key(path, frame)}.npy"
        voxels = _map(file)
        if voxels is not None:
            self._hits += 1
            _touch(file)
            return voxels
        self._misses += 1
        volume = formats.read_volume(path, frame)
        shape = planes.resampled_shape(volume.grid, self.spacing)
        try:
            prepared = prepare(planes.resample(volume.voxels, shape), self.percentiles)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        self._write(file, prepared)
        self._evict(keep=file)
        mapped = _map(file)
        return prepared if mapped is None else mapped  # another process may already have evicted it

    def report(self) -> CacheReport:
        """Hits, misses and bytes."""
        return CacheReport(self._hits, self._misses, sum(size for _, size, _ in _listing(self.folder)), self.folder)

    def _key(self, path: Path, frame: int | None) -> str:
        formats.read_grid(path)  # a missing or foreign file gets its message here
        found = hashlib.sha256()
        for file in formats.files_of(path):
            found.update(file.read_bytes())
        found.update(json.dumps([_VERSION, self.percentiles, self.spacing, frame]).encode())
        return found.hexdigest()

    def _write(self, file: Path, voxels: np.ndarray) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, voxels)
            os.replace(name, file)
        except OSError as error:
            raise DataError(
                f"{self.folder}: the volume cache cannot be written ({error.strerror}), expected a folder with room. "
                "Set MEDGRAPH_CACHE to another one."
            ) from error

    def _evict(self, keep: Path) -> None:
        for leftover in self.folder.glob("*.tmp"):
            if time.time() - _modified(leftover) > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)
        files = sorted(_listing(self.folder))
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total <= self.max_bytes:
                break
            if file != keep:
                file.unlink(missing_ok=True)
                total -= size


def prepare(voxels: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Clip to two percentiles, z-score, map [-3, 3] to [0, 1] with clipping. float32.

    Raises:
        ValueError: Nothing is left to scale by: the voxels are equal once clipped.
    """
    low, high = np.percentile(voxels, percentiles)
    clipped = np.clip(voxels.astype(np.float64), low, high)
    std = clipped.std()
    if std == 0:
        raise ValueError(
            f"all voxels are {low:g} between percentiles {percentiles[0]:g} and {percentiles[1]:g}, expected contrast. "
            "Widen percentiles, or leave this volume out."
        )
    scores = (clipped - clipped.mean()) / std
    return np.clip((scores + 3) / 6, 0, 1).astype(np.float32)


def default_folder() -> Path:
    """The cache folder: MEDGRAPH_CACHE if set, else ~/.cache/medgraph."""
    return Path(os.environ.get("MEDGRAPH_CACHE") or Path.home() / ".cache" / "medgraph")


def _map(file: Path) -> np.ndarray | None:
    """The cached array; None where there is none, or where it is not whole: it is then prepared again."""
    try:
        return np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None


def _listing(folder: Path) -> list[tuple[float, int, Path]]:
    """(last use, bytes, file) of each cached volume; files that vanish meanwhile are left out."""
    found = []
    for file in folder.glob("*.npy"):
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        found.append((stat.st_mtime, stat.st_size, file))
    return found


def _touch(file: Path) -> None:
    try:
        os.utime(file)
    except OSError:  # read-only, or just evicted by another process: the array is mapped already
        return


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return time.time()
