"""Arrays that took long to compute, kept on disk under a hash of everything they were computed from."""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medgraph import checks
from medgraph.errors import DataError

_STALE_SECONDS = 3600  # an unfinished file older than this was left by a process that died
_LOOK_AFTER = 1 / 8  # of the room left may be filled until the folder is listed again: up to 8 processes keep its limit


class ArrayCache:
    """A folder of arrays by key. Files appear whole or not at all, so several processes may share it.

    When the folder grows above `max_bytes`, the arrays that were not used for longest go.

    Args:
        room: Name of a folder in the cache folder; "" is that folder itself.
        max_bytes: Most that it may hold.
        folder: Another place altogether; None for the room.
    """

    def __init__(self, room: str = "", max_bytes: int = 10 * 2**30, folder: str | os.PathLike[str] | None = None):
        self.folder = default_folder() / room if folder is None else Path(folder)
        self.max_bytes = checks.positive("max_bytes", max_bytes)
        self._unlisted = 0.0  # bytes that may be put before the folder is listed again

    def get(self, key: str, names: Iterable[str], mapped: bool = False) -> dict[str, np.ndarray] | None:
        """The arrays kept under a key; None unless all of them are there and whole. `mapped` leaves them on disk."""
        found = {}
        for name in names:
            file = self._file(key, name)
            try:
                found[name] = _mapped(file) if mapped else np.load(file)
            except (OSError, ValueError, EOFError, RuntimeError):
                return None
            with suppress(OSError):  # read-only, or just evicted by another process: it is read already
                os.utime(file)
        return found

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays under a key. Raises DataError where the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, array in arrays.items():
                self._write(self._file(key, name), array)
        except OSError as error:
            raise DataError(
                f"{self.folder}: the cache cannot be written ({error.strerror}), expected a folder with room. "
                "Set MEDGRAPH_CACHE to another one."
            ) from error
        self._unlisted -= sum(array.nbytes for array in arrays.values())
        if self._unlisted <= 0:
            total = self._evict({self._file(key, name) for name in arrays})
            self._unlisted = max(0.0, _LOOK_AFTER * (self.max_bytes - total))

    def size(self) -> int:
        """Bytes of all arrays in the folder."""
        return sum(size for _, size, _ in self._listing())

    def _file(self, key: str, name: str) -> Path:
        return self.folder / f"{key}.{name}.npy"

    def _write(self, file: Path, array: np.ndarray) -> None:
        """Whole or not at all, and, as any file, open to whom the user's mask lets in: a group may share the folder."""
        partial = self.folder / f"{uuid.uuid4().hex}.tmp"
        try:
            with partial.open("xb") as stream:
                np.save(stream, array)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    def _evict(self, keep: set[Path]) -> int:
        """Clear what is left over and, above `max_bytes`, what was not used for longest; bytes that remain."""
        for leftover in self.folder.glob("*.tmp"):
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                    leftover.unlink()
        files = sorted(self._listing())
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total > self.max_bytes and file not in keep:
                with suppress(OSError):  # of another user, in a folder where each may remove his own
                    file.unlink(missing_ok=True)
                    total -= size
        return total

    def _listing(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, file) of each array; files that vanish meanwhile are left out."""
        found = []
        for file in self.folder.glob("*.npy"):
            with suppress(FileNotFoundError):
                stat = file.stat()
                found.append((stat.st_mtime, stat.st_size, file))
        return found


def _mapped(file: Path) -> np.ndarray:
    """The array of a file, read-only, left on disk. Unlike numpy's own map it keeps no file open: sets of volumes are
    larger than the number of files that a process may have open."""
    numpys = np.load(file, mmap_mode="r")  # checks the header against the length of the file
    end = numpys.offset + numpys.nbytes
    found = torch.from_file(str(file), shared=False, size=end, dtype=torch.uint8).numpy()[numpys.offset :]
    order = "C" if numpys.flags.c_contiguous else "F"
    array = found.view(numpys.dtype).reshape(numpys.shape, order=order)
    array.flags.writeable = False
    return array


def default_folder() -> Path:
    """The cache folder: MEDGRAPH_CACHE if set, else ~/.cache/medgraph."""
    return Path(os.environ.get("MEDGRAPH_CACHE") or Path.home() / ".cache" / "medgraph")


def content_key(arrays: Iterable[np.ndarray], facts: Any) -> str:
    """A sha256 over the contents of arrays and over facts that JSON can write."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
