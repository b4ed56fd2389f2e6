"""What data a training saw, as one number: a hash over the contents of all its files."""

import hashlib
import math
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


def identity(data: Any) -> dict[str, Any] | None:
    """Number of cases of a component of the table `data`, all splits together, and one sha256 over what they are.

    That is the part, the id and the size of the files of each case; no file is opened, and where they lie does not
    matter. Of a graph: its nodes by type. How many labels may be used plays no part. None for data that name no cases.
    """
    found = sorted(_identities(data))
    if not found:
        return None
    count = sum(number for _, number in found)
    return {"count": count, "sha256": hashlib.sha256("\n".join(text for text, _ in found).encode()).hexdigest()}


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


def _identities(data: Any) -> Iterator[tuple[str, int]]:
    """What tells each case, or each node type, from others, and how many cases it stands for."""
    for part in parts(data):
        yield from _identities(part)
    source = getattr(data, "source", data)
    for case in getattr(source, "cases", ()):
        yield f"{case.part}\t{case.id}\t{_size(case.image)}\t{_size(case.label)}", 1
    images = len(source.folder.files) if hasattr(source, "folder") else math.inf  # masks come after them
    for number, file in enumerate(getattr(source, "files", ())):
        path = file.path if hasattr(file, "path") else file.file
        group = getattr(file, "is_target", getattr(file, "label", ""))
        yield f"{file.part}\t{path.name}\t{group}\t{_size(path)}", int(number < images)
    if not hasattr(source, "cases") and isinstance(getattr(source, "path", None), str):
        yield f"{_size(Path(source.path).expanduser())}", 1
    spec: Any = getattr(data, "spec", None) if hasattr(source, "structure") or hasattr(data, "graph_data") else None
    for name, number in spec.node_counts.items() if spec is not None else ():
        yield f"{name}\t{number}", number if name == spec.target_type else 0


def _size(path: Path | None) -> int:
    """Bytes of the files of a case; 0 for one that has none."""
    return 0 if path is None else sum(file.stat().st_size for file in formats.files_of(path) if file.is_file())


@lru_cache(maxsize=100_000)
def _content(path: str, mtime: int, size: int) -> str:
    """sha256 of a file's content, remembered while time and size stay."""
    found = hashlib.sha256()
    with open(os.fspath(path), "rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
