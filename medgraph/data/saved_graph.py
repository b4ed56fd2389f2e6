"""Graphs in one file without pickles: arrays in an `.npz`, everything else as JSON inside it."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from medgraph import files
from medgraph.data import sparse
from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Features, Graph, MetaPathText, make_graph
from medgraph.data.metapath import EdgeType
from medgraph.data.numpy_files import open_arrays
from medgraph.data.pyg_graphs import read_hetero_file
from medgraph.errors import DataError

_VERSION = 1
_FACTS = {"target_type": str, "node_counts": dict, "feature_dims": dict, "sparse": list} | {
    "edge_types": list, "metapaths": dict, "classes": list, "splits": dict
}  # fmt: skip


def save_graph(graph: Graph, path: str | Path) -> None:
    """Write a graph to one `.npz` that `saved_graph` reads back: edges, features, labels, splits, meta-paths.

    Numbers are stored as small as they fit; features in float32. Replaces the file in one move.
    """
    path = Path(path)
    arrays: dict[str, np.ndarray] = {}
    spec = graph.spec
    kept = [edge_type for edge_type in spec.edge_types if not _is_made_again(edge_type, graph)]
    for number, edge_type in enumerate(kept):
        arrays[f"edges/{number}"] = _small(graph.data[edge_type].edge_index.numpy())
    sparse_types = []
    for name in (name for name, width in spec.feature_dims.items() if width):
        x = graph.data[name].x
        if x.layout == torch.strided:
            arrays[f"features/{name}"] = x.numpy()
            continue
        sparse_types.append(name)
        matrix = sparse.to_scipy(x)
        arrays[f"features/{name}/indptr"] = _small(matrix.indptr)
        arrays[f"features/{name}/indices"] = _small(matrix.indices)
        arrays[f"features/{name}/data"] = matrix.data
    if graph.labels is not None:
        arrays["labels"] = graph.labels.numpy().astype(np.int32)
    for split, parts in graph.splits.items():
        for part, index in parts.items():
            arrays[f"splits/{split}/{part}"] = _small(index.numpy())
    for name, keys in graph.keys.items():
        arrays[f"keys/{name}"] = keys.astype(str)
    facts = {
        "version": _VERSION,
        "target_type": graph.target_type,
        "node_counts": spec.node_counts,
        "feature_dims": spec.feature_dims,
        "sparse": sparse_types,
        "edge_types": kept,
        "metapaths": graph.metapaths,
        "classes": graph.classes,
        "splits": {split: list(parts) for split, parts in graph.splits.items()},
    }
    facts |= {"keys": list(graph.keys)} if graph.keys else {}
    arrays["facts"] = np.array(json.dumps(facts))
    with files.whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


class SavedGraph(GraphSource):
    """A graph in one file: an `.npz` of `save_graph`, or a `.pt` that `torch.save` made of a `HeteroData`.

    Neither can run code: the `.npz` holds plain arrays, and a `.pt` is read with `weights_only=True` and nothing but
    PyG's own storage classes allowed. A `.pt` gives `x`, `edge_index`, `y` and `train_mask`, `val_mask`, `test_mask`.

    Args:
        path: The file.
        target_type: Node type that is embedded; needed for a `.pt` unless one type alone has `y`.
        metapaths: Names or lists of edge types; None takes those of the file, or else all short ones.
        normalize: Divide each row of features by its sum of absolute values. None: only of a `.pt`, as an `.npz` holds
            what its graph had.
    """

    def __init__(
        self,
        path: str,
        target_type: str | None = None,
        metapaths: tuple[str | list[list[str]], ...] | None = None,
        normalize: bool | None = None,
    ):
        self.path = path
        self.target_type = target_type
        self.metapaths = metapaths
        self.normalize = normalize

    def __repr__(self) -> str:
        return f"SavedGraph(path={str(self.path)!r})"

    def read(self) -> Graph:
        """Read the file."""
        path = Path(os.path.expanduser(self.path))
        if not path.is_file():
            raise DataError(f"{path}: no such file, expected a saved graph. Check path.")
        if path.suffix == ".pt":
            return read_hetero_file(path, self.target_type, self.metapaths, self.normalize is not False)
        return self._read_arrays(path)

    def _read_arrays(self, path: Path) -> Graph:
        labels, classes, splits = None, None, {}
        with open_arrays(path, "a graph that save_graph wrote") as arrays:
            facts = _facts(path, str(arrays["facts"]))
            target = self.target_type or facts["target_type"]
            is_own = target == facts["target_type"]
            if is_own:
                labels, classes = arrays.get("labels"), tuple(facts["classes"])
                parts = facts["splits"].items()
                splits = {s: {part: _long(arrays[f"splits/{s}/{part}"]) for part in names} for s, names in parts}
            edges = {tuple(e): _long(arrays[f"edges/{i}"]) for i, e in enumerate(facts["edge_types"])}
            keys = {name: arrays[f"keys/{name}"].astype(object) for name in facts.get("keys", [])}
            features = {name: _features(name, arrays, facts) for name, width in facts["feature_dims"].items() if width}
        stored: list[MetaPathText] = list(facts["metapaths"].values())
        metapaths = self.metapaths if self.metapaths is not None else stored if is_own else None
        counts = facts["node_counts"]
        graph = make_graph(
            target, counts, edges, features, labels, splits, metapaths, bool(self.normalize), str(path), classes
        )
        return replace(graph, keys=keys if is_own else {})


def _facts(path: Path, text: str) -> dict[str, Any]:
    """What a file tells of itself. Raises DataError where that is not what `save_graph` writes."""
    facts = json.loads(text)
    version = facts.get("version") if isinstance(facts, dict) else None
    if version != _VERSION:
        raise DataError(f"{path}: version {version} of the format, expected {_VERSION}. Save the graph again.")
    wrong = [key for key, kind in _FACTS.items() if not isinstance(facts.get(key), kind)]
    if wrong:
        raise DataError(
            f"{path}: its facts name {facts.get(wrong[0])!r} as {wrong[0]}, expected a {_FACTS[wrong[0]].__name__} as "
            "save_graph writes. Save the graph again."
        )
    return facts


def _is_made_again(edge_type: EdgeType, graph: Graph) -> bool:
    """Whether reading makes this edge type anew, out of the one that it is the reverse of."""
    source, relation, destination = edge_type
    forward = (destination, relation.removeprefix("rev_"), source)
    others = {e for e in graph.data.edge_types if (e[0], e[2]) == (source, destination)} - {edge_type}
    if not relation.startswith("rev_") or forward not in graph.data.edge_types or (others and source != destination):
        return False
    there, back = (graph.data[each].edge_index for each in (forward, edge_type))
    return torch.equal(there.flip(0), back)


def _features(name: str, arrays: Mapping[str, np.ndarray], facts: dict[str, Any]) -> Features:
    if name not in facts["sparse"]:
        return arrays[f"features/{name}"]
    data, indices, indptr = (arrays[f"features/{name}/{part}"] for part in ("data", "indices", "indptr"))
    shape = (facts["node_counts"][name], facts["feature_dims"][name])
    return sp.csr_matrix((data, indices.astype(np.int32), indptr.astype(np.int64)), shape=shape)


def _small(numbers: np.ndarray) -> np.ndarray:
    """The same non-negative integers in the smallest unsigned type."""
    largest = int(numbers.max(initial=0))
    return numbers.astype(next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(t).max))


def _long(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.int64)
