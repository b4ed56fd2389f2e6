"""Prepared volumes: the deterministic part of reading (spacing, clip, scale), cached on disk as mapped arrays."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medgraph import checks
from medgraph.data import formats, planes
from medgraph.data.array_cache import ArrayCache, content_key
from medgraph.errors import DataError
from medgraph.files import content_hash

_NAME = "voxels"
Spacing = tuple[float | None, float | None, float | None] | None  # millimetres by RAS axis; None keeps an axis, or all
_VERSION = 2  # raise it when `prepare` computes something else: old cache files are then not found


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
        spacing: Resample to these millimetres (right, anterior, superior) first; None keeps an axis, or all of them.
        folder: Where to cache; None means the environment variable MEDGRAPH_CACHE, or ~/.cache/medgraph.
        max_bytes: Most that the folder may hold.
        score_range: Standard scores that become 0 and 1; what lies outside is clipped.
    """

    def __init__(
        self,
        percentiles: tuple[float, float] = (0.5, 99.5),
        spacing: Spacing = None,
        folder: str | os.PathLike[str] | None = None,
        max_bytes: int = 20 * 2**30,
        score_range: tuple[float, float] = (-3.0, 3.0),
    ):
        self.percentiles = checks.interval("percentiles", percentiles, 0, 100)
        for value in spacing or ():
            if value is not None:
                checks.positive("spacing", value)
        self.spacing: Spacing = spacing
        self.score_range = score_interval(score_range)
        self._arrays = ArrayCache(max_bytes=max_bytes, folder=folder)
        self._hits = self._misses = 0

    def prepared(self, path: str | os.PathLike[str], frame: int | None = None) -> np.ndarray:
        """Voxels in [0, 1], float32, RAS axes, mapped read-only. Raises DataError as `formats.read_volume`."""
        path = Path(path)
        key = self._key(path, frame)
        found = self._arrays.get(key, [_NAME], mapped=True)
        if found is not None:
            self._hits += 1
            return found[_NAME]
        self._misses += 1
        volume = formats.read_volume(path, frame)
        shape = planes.resampled_shape(volume.grid, self.spacing)
        try:
            prepared = prepare(planes.resample(volume.voxels, shape), self.percentiles, self.score_range)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        self._arrays.put(key, {_NAME: prepared})
        found = self._arrays.get(key, [_NAME], mapped=True)
        return prepared if found is None else found[_NAME]  # another process may already have evicted it

    def report(self) -> CacheReport:
        """Hits, misses and bytes."""
        return CacheReport(self._hits, self._misses, self._arrays.size(), self._arrays.folder)

    def _key(self, path: Path, frame: int | None) -> str:
        formats.read_grid(path)  # a missing or foreign file gets its message here
        hashes = [content_hash(file) for file in formats.files_of(path)]
        return content_key([], [*hashes, _VERSION, self.percentiles, self.spacing, frame, self.score_range])


def score_interval(score_range: tuple[float, float]) -> tuple[float, float]:
    """Return two standard scores, the smaller first. Raises ValueError."""
    low, high = checks.interval("score_range", score_range, -100, 100)
    if low == high:
        raise ValueError(f"score_range: expected two different numbers, got {score_range!r}")
    return low, high


def prepare(
    voxels: np.ndarray, percentiles: tuple[float, float], score_range: tuple[float, float] = (-3.0, 3.0)
) -> np.ndarray:
    """Clip to two percentiles, z-score, map `score_range` to [0, 1] with clipping. float32.

    Raises:
        ValueError: Nothing is left to scale by: the voxels are equal once clipped.
    """
    low, high = np.percentile(voxels, percentiles)
    scores = voxels.astype(np.float64)  # the one copy: a whole body has hundreds of millions of voxels
    std = np.clip(scores, low, high, out=scores).std()
    if std == 0:
        raise ValueError(
            f"all voxels are {low:g} between percentiles {percentiles[0]:g} and {percentiles[1]:g}, expected contrast. "
            "Widen percentiles, or leave this volume out."
        )
    first, last = score_range
    scores -= scores.mean()
    scores /= std
    scores -= first
    scores /= last - first
    return np.clip(scores, 0, 1, out=scores).astype(np.float32)
