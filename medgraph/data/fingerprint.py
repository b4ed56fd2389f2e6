"""What data a training saw, as one number: a hash over the contents of all its files."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from medgraph.data import formats

_BLOCK = 2**20


def fingerprint(data: Any) -> dict[str, Any] | None:
    """Number of files of a component of the table `data`, all splits together, and one sha256 over their contents.

    It is the hash of the sorted hashes, so names and places do not matter. None for data that name no files.
    """
    paths = sorted({file for path in _paths(data) for file in formats.files_of(path) if file.is_file()})
    if not paths:
        return None
    hashes = sorted(_content(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return {"num_files": len(paths), "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest()}


def parts(data: Any) -> list[Any]:
    """The components that a mixed component is made of; none for a plain one."""
    named = (*getattr(data, "data", ()), getattr(data, "image_data", None), getattr(data, "volume_data", None))
    return [part for part in named if part is not None]


def _paths(data: Any) -> Iterator[Path]:
    """Files that a data part or its source lists: those of cases, of images, of groups, of the parts it is made of."""
    for part in parts(data):
        yield from _paths(part)
    source = getattr(data, "source", data)
    for case in getattr(source, "cases", ()):
        yield from (path for path in (case.image, case.label) if path is not None)
    for file in getattr(source, "files", ()):
        yield file.path if hasattr(file, "path") else file.file
    if not hasattr(source, "cases") and isinstance(getattr(source, "path", None), str):
        yield Path(source.path).expanduser()  # all in one file


@lru_cache(maxsize=100_000)
def _content(path: str, mtime: int, size: int) -> str:
    """sha256 of a file's content, remembered while time and size stay."""
    found = hashlib.sha256()
    with open(os.fspath(path), "rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
