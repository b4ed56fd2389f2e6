"""Graphs in PyG's own forms: a `HeteroData`, a file of one, and PyG's published data sets."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric.data.storage as storages
from torch import Tensor
from torch_geometric import datasets
from torch_geometric.data import HeteroData

from medgraph import checks
from medgraph.data import sparse, torch_files
from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Features, Graph, MetaPathText, make_graph
from medgraph.errors import DataError

_HETEROGENEOUS = ("AMiner", "DBLP", "HGBDataset", "IMDB", "MovieLens", "OGB_MAG")
_SAFE = [HeteroData, storages.BaseStorage, storages.NodeStorage, storages.EdgeStorage]
_MASKS = {"train_mask": "train", "val_mask": "val", "test_mask": "test"}


class PyGGraph(GraphSource):
    """One of PyG's heterogeneous data sets. PyG fetches it into `root` if it is not there yet.

    Args:
        dataset: Its class in `torch_geometric.datasets`.
        root: Folder that it lies in.
        subset: The `name` that some of these classes take: `acm` of HGBDataset.
        target_type: Node type that is embedded; None takes the one type that has labels.
        metapaths: Names or lists of edge types; None takes all of one or two steps out and back.
        normalize: Divide each row of features by its sum of absolute values.
    """

    def __init__(
        self,
        dataset: str,
        root: str,
        subset: str | None = None,
        target_type: str | None = None,
        metapaths: tuple[str | list[list[str]], ...] | None = None,
        normalize: bool = True,
    ):
        self.dataset = checks.one_of("dataset", dataset, _HETEROGENEOUS)
        self.root = root
        self.subset = subset
        self.target_type = target_type
        self.metapaths = metapaths
        self.normalize = normalize

    def __repr__(self) -> str:
        return f"PyGGraph(dataset={self.dataset!r}, root={str(self.root)!r})"

    def read(self) -> Graph:
        """Read the data set; fetch it first if it is not there."""
        names = {} if self.subset is None else {"name": self.subset}
        data = getattr(datasets, self.dataset)(root=os.path.expanduser(self.root), **names)[0]
        return from_hetero(data, self.target_type, self.metapaths, self.normalize, f"{self.dataset} in {self.root}")


def read_hetero_file(
    path: Path, target_type: str | None, metapaths: Sequence[MetaPathText] | None = None, normalize: bool = True
) -> Graph:
    """A graph from a `HeteroData` that `torch.save` wrote, read so that no code in the file can run.

    Raises:
        DataError: The file holds anything but tensors and PyG's storage classes.
    """
    data = torch_files.load(path, "a HeteroData", "Save the graph's HeteroData by torch.save.", classes=_SAFE)
    if not isinstance(data, HeteroData):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected a HeteroData.")
    return from_hetero(data, target_type, metapaths, normalize, str(path))


def from_hetero(
    data: HeteroData,
    target_type: str | None = None,
    metapaths: Sequence[MetaPathText] | None = None,
    normalize: bool = True,
    where: str = "graph",
) -> Graph:
    """A checked graph from a `HeteroData`: `x`, `edge_index` or `adj_t`, `y`, and masks as one split called "given".

    Raises:
        DataError: The target type cannot be told, or the graph is not consistent.
    """
    target = target_type or _labelled_type(data, where)
    counts = {name: _count(data[name], f"{where}: node type {name!r}") for name in data.node_types}
    features: dict[str, Features] = {}
    for name in data.node_types:
        x = data[name].get("x")
        if x is not None:
            features[name] = _features(x, f"{where}: x of {name!r}")
    edges = {edge_type: _edges(data[edge_type], f"{where}: edges {edge_type}") for edge_type in data.edge_types}
    if target not in counts:
        raise DataError(f"{where}: no node type is called {target!r}. Node types: {', '.join(counts)}.")
    store = data[target]
    labels = _labels(store, counts[target], f"{where}: node type {target!r}")
    splits = _splits(store, counts[target], f"{where}: node type {target!r}")
    return make_graph(target, counts, edges, features, labels, splits, metapaths, normalize, where)


def _edges(store: Any, what: str) -> np.ndarray:
    """Numbers of source and destination (2, E)."""
    if isinstance(store.get("edge_index"), Tensor):
        return _numbers(store.edge_index, f"{what}, edge_index")
    if isinstance(store.get("adj_t"), Tensor):  # destinations x sources
        return store.adj_t.to_sparse_coo().coalesce().indices().flip(0).numpy()
    raise DataError(f"{what}: expected edge_index, or adj_t as a sparse tensor of torch, found {sorted(store.keys())}.")


def _labelled_type(data: HeteroData, where: str) -> str:
    labelled = [name for name in data.node_types if "y" in data[name]]
    if len(labelled) != 1:
        found = ", ".join(labelled) or "none"
        raise DataError(
            f"{where}: expected one node type with labels to take as target, found {found}. Set target_type."
        )
    return labelled[0]


def _labels(store: Any, num_targets: int, what: str) -> np.ndarray | None:
    if "y" not in store:
        return None
    known = _numbers(store.y, f"{what}, y")
    if "y_index" not in store:
        return known
    index = _numbers(store.y_index, f"{what}, y_index")
    if index.dtype.kind not in "iu" or index.shape != known.shape or np.any((index < 0) | (index >= num_targets)):
        raise DataError(
            f"{what}, y_index: has shape {index.shape} of {index.dtype}, expected a node number from 0 to "
            f"{num_targets - 1} for each of the {len(known)} labels of y. Mend it, or leave it out."
        )
    labels = np.full(num_targets, -1)
    labels[index] = known
    return labels


def _splits(store: Any, num_targets: int, what: str) -> dict[str, dict[str, np.ndarray]]:
    parts = {}
    for name, part in _MASKS.items():
        if name in store:
            mask = _numbers(store[name], f"{what}, {name}")
            if mask.shape != (num_targets,):
                raise DataError(f"{what}, {name}: has shape {mask.shape}, expected ({num_targets},), one a node.")
            parts[part] = np.flatnonzero(mask)
    return {"given": parts} if parts else {}


def _features(x: Any, what: str) -> Features:
    if isinstance(x, Tensor) and x.ndim != 2:
        raise DataError(f"{what}: has shape {tuple(x.shape)}, expected (nodes, features).")
    if isinstance(x, Tensor) and x.layout != torch.strided:
        return sparse.to_scipy(x.detach())
    return _numbers(x, what).astype(np.float32)


def _numbers(value: Any, what: str) -> np.ndarray:
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        found = type(value).__name__ if not isinstance(value, Tensor) else f"tensor of layout {value.layout}"
        raise DataError(f"{what}: is a {found}, expected a dense tensor. Store it as one.")
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _count(store: Any, what: str) -> int:
    count = store.num_nodes or 0
    if not isinstance(count, int):
        raise DataError(f"{what}: num_nodes is {count!r}, expected how many nodes there are.")
    return count
