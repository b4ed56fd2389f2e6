"""Arrays that took long to compute, kept on disk under a hash of everything they were computed from."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medgraph import checks
from medgraph.errors import DataError


class ArrayCache:
    """A folder of arrays by key. Files appear whole or not at all, so several processes may share it.

    When the folder grows above `max_bytes`, the arrays that were not used for longest go.

    Args:
        room: Name of the folder, below MEDGRAPH_CACHE if that is set, else below ~/.cache/medgraph.
        max_bytes: Most that it may hold.
    """

    def __init__(self, room: str, max_bytes: int = 10 * 2**30):
        root = os.environ.get("MEDGRAPH_CACHE") or Path.home() / ".cache" / "medgraph"
        self.folder = Path(root) / room
        self.max_bytes = checks.positive("max_bytes", max_bytes)

    def get(self, key: str, names: Iterable[str]) -> dict[str, np.ndarray] | None:
        """The arrays kept under a key; None unless all of them are there and whole."""
        found = {}
        for name in names:
            file = self._file(key, name)
            try:
                found[name] = np.load(file)
                os.utime(file)
            except (OSError, ValueError, EOFError):
                return None
        return found

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays under a key. Raises DataError where the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, array in arrays.items():
                handle, partial = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
                with os.fdopen(handle, "wb") as stream:
                    np.save(stream, array)
                os.replace(partial, self._file(key, name))
            self._evict({self._file(key, name) for name in arrays})
        except OSError as error:
            raise DataError(
                f"{self.folder}: the cache cannot be written ({error.strerror}), expected a folder with room. "
                "Set MEDGRAPH_CACHE to another one."
            ) from error

    def _file(self, key: str, name: str) -> Path:
        return self.folder / f"{key}.{name}.npy"

    def _evict(self, keep: set[Path]) -> None:
        found = sorted(
            (stat.st_mtime, stat.st_size, file) for file in self.folder.glob("*.npy") if (stat := file.stat())
        )
        total = sum(size for _, size, _ in found)
        for _, size, file in found:
            if total > self.max_bytes and file not in keep:
                file.unlink(missing_ok=True)
                total -= size


def content_key(arrays: Iterable[np.ndarray], facts: Any) -> str:
    """A sha256 over the contents of arrays and over facts that JSON can write."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
