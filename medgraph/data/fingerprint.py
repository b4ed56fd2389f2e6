"""What data a training saw, as one number: a hash over the contents of all its files."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph.data import formats
from medgraph.files import content_hash


def fingerprint(data: Any) -> dict[str, Any] | None:
    """Number of files of a component of the table `data`, all splits together, and one sha256 over their contents.

    It is the hash of the sorted hashes, so names and places do not matter. None for data that name no files.
    """
    paths = sorted({file for path in _paths(data) for file in formats.files_of(path) if file.is_file()})
    if not paths:
        return None
    hashes = sorted(content_hash(path) for path in paths)
    return {"num_files": len(paths), "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest()}


def identity(data: Any) -> dict[str, Any] | None:
    """Number of cases of a component of the table `data`, all splits together, and one sha256 over what they are.

    That is the part, the id and the size of the files of each case; no file is opened, and where they lie does not
    matter. Of a graph: its nodes by type, their features, and its edges, in whatever order. How many labels may be used
    plays no part. None for data that name no cases.
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
    source = getattr(getattr(data, "graph_data", data), "source", data)
    while hasattr(source, "structure") and hasattr(source, "source"):  # a graph with other features
        source = source.source
    yield from getattr(source, "table_files", ())
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
    graph: Any = getattr(getattr(getattr(data, "graph_data", data), "source", None), "structure", None)
    if graph is not None:
        yield from _graph_identities(graph)


def _graph_identities(graph: Any) -> Iterator[tuple[str, int]]:
    """Of each node type its number and a hash of its features; of each relation a sum over its edges, mixed."""
    for name in graph.data.node_types:
        number = int(graph.data[name].num_nodes)
        features = graph.data[name].x if "x" in graph.data[name] else None
        yield f"{name}\t{number}\t{_hash(features)}", number if name == graph.target_type else 0
    for edge_type in graph.data.edge_types:
        source, destination = graph.data[edge_type].edge_index.numpy().astype(np.uint64)
        mixed = _mix(_mix(source) ^ destination)
        yield "\t".join((*edge_type, str(len(mixed)), str(mixed.sum(dtype=np.uint64)))), 0


def _mix(numbers: np.ndarray) -> np.ndarray:
    """An avalanche of 64 bits (splitmix64): sums of what it gives tell sets of numbers apart."""
    numbers = (numbers + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _hash(features: Tensor | None) -> str:
    """sha256 of dense or CSR features; empty without any."""
    if features is None:
        return ""
    is_sparse = features.layout == torch.sparse_csr
    blocks = (features.crow_indices(), features.col_indices(), features.values()) if is_sparse else (features,)
    found = hashlib.sha256()
    for block in blocks:
        found.update(np.ascontiguousarray(block.numpy()).data)
    return found.hexdigest()


def _size(path: Path | None) -> int:
    """Bytes of the files of a case; 0 for one that has none."""
    return 0 if path is None else sum(file.stat().st_size for file in formats.files_of(path) if file.is_file())
