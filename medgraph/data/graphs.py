"""Heterogeneous graphs as every source hands them out: checked by name, with both directions of each relation."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from medgraph.data import sparse
from medgraph.data.metapath import EdgeType, MetaPath, ambiguous_pairs, default_metapaths, parse_metapath, told_apart
from medgraph.data.node_labels import check_splits, map_labels
from medgraph.data.spec import GraphSpec
from medgraph.errors import DataError

Features: TypeAlias = "sp.csr_matrix | np.ndarray"
MetaPathText = str | list[list[str]]


@dataclass(frozen=True, eq=False)
class Graph:
    """A heterogeneous graph with what is known about its target nodes.

    `data[node_type]` has `num_nodes`, and `x` (float32, a CSR tensor where the features are sparse) unless the type has
    no features; `data[edge_type].edge_index` is long, and edges between two types lead both ways. Labels are not in
    `data`, so pre-training cannot see them.

    Attributes:
        data: Features and edges.
        target_type: Node type that is embedded.
        labels: Class of each target (N,), -1 where unknown; None without labels.
        splits: By name, the target numbers of "train", "val" and "test".
        metapaths: By name, the edge types of each meta-path.
        classes: Names of the classes.
        notes: What was found and mended while reading.
        keys: By the name of its column, the key of each target in the table that it was read from; none otherwise.
    """

    data: HeteroData
    target_type: str
    labels: Tensor | None
    splits: dict[str, dict[str, Tensor]]
    metapaths: dict[str, list[EdgeType]]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    keys: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def spec(self) -> GraphSpec:
        """Node types, widths and classes."""
        types = self.data.node_types
        return GraphSpec(
            target_type=self.target_type,
            node_counts={name: int(self.data[name].num_nodes) for name in types},
            feature_dims={name: self.data[name].x.shape[1] if "x" in self.data[name] else 0 for name in types},
            num_classes=len(self.classes) if self.labels is not None else None,
            edge_types=tuple(self.data.edge_types),
        )

    @property
    def num_targets(self) -> int:
        """Number of target nodes."""
        return int(self.data[self.target_type].num_nodes)

    def metapath(self, name: str) -> MetaPath:
        """A meta-path of the graph by its name, or any other that `parse_metapath` understands."""
        if name in self.metapaths:
            return MetaPath(name, tuple((source, r, end) for source, r, end in self.metapaths[name]))
        return parse_metapath(name, self.data.edge_types, self.target_type)


def make_graph(
    target_type: str,
    node_counts: Mapping[str, int],
    edges: Mapping[EdgeType, np.ndarray],
    features: Mapping[str, Features],
    labels: np.ndarray | None = None,
    splits: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    metapaths: Sequence[MetaPathText] | None = None,
    normalize: bool = True,
    where: str = "graph",
    classes: tuple[str, ...] | None = None,
) -> Graph:
    """Check the pieces of a graph against each other and put them together.

    Args:
        target_type: Node type that is embedded.
        node_counts: Number of nodes by node type.
        edges: (2, E) node numbers by edge type; a relation without its reverse gets one called `rev_`.
        features: (nodes, width) by node type.
        labels: Class of each target: integers, text, or missing (NaN, None or a negative number).
        splits: By name, target numbers of "train", "val" and "test".
        metapaths: As `parse_metapath` takes them; None takes all of `default_metapaths`.
        normalize: Divide each row of features by its sum of absolute values.
        where: Path of the graph, for messages.
        classes: Names of the classes when the labels are numbers from 0 already, -1 where missing.

    Raises:
        DataError: An edge or a split is out of bounds, a type has neither features nor edges, parts of a split overlap.
        ConfigError: A meta-path does not fit.
    """
    if target_type not in node_counts:
        raise DataError(f"{where}: no node type is called {target_type!r}. Node types: {', '.join(node_counts)}.")
    data = HeteroData()
    for name, count in node_counts.items():
        data[name].num_nodes = count
    for name, matrix in features.items():
        data[name].x = _feature_tensor(name, matrix, node_counts, normalize, where)
    for edge_type, index in both_directions(edges).items():
        data[edge_type].edge_index = _edge_tensor(edge_type, index, node_counts, where)
    _check_types(data, where)
    notes: list[str] = []
    found, classes = map_labels(labels, node_counts[target_type], where, notes, classes)
    parts = check_splits(splits or {}, found, classes, node_counts[target_type], where, notes)
    paths = _chosen_paths(data.edge_types, target_type, metapaths, where, notes)
    named = {path.name: list(path.edge_types) for path in paths}
    alone = ~np.any([reaches_back(data, path) for path in paths], axis=0) if paths else np.zeros(0, dtype=bool)
    if alone.any():
        notes.append(
            f"{where}: {alone.sum()} of {len(alone)} {target_type} nodes have no instance of any meta-path, the first "
            f"is {np.flatnonzero(alone)[0]}; only their own features tell them apart."
        )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return Graph(data, target_type, found, parts, named, classes, tuple(notes))


def _chosen_paths(
    edge_types: Sequence[EdgeType],
    target_type: str,
    metapaths: Sequence[MetaPathText] | None,
    where: str,
    notes: list[str],
) -> tuple[MetaPath, ...]:
    """The meta-paths that are named, or else all short ones; `notes` takes a line for pairs of types left out."""
    if metapaths is not None:
        return told_apart(parse_metapath(path, edge_types, target_type) for path in metapaths)
    notes += [f"{where}: {line}" for line in ambiguous_pairs(edge_types, target_type)]
    return told_apart(default_metapaths(edge_types, target_type))


def both_directions(edges: Mapping[EdgeType, np.ndarray]) -> dict[EdgeType, np.ndarray]:
    """The edges, and of each relation its reverse, `rev_` and its name, unless it is there.

    A relation between two types is another's reverse by its name, or where its edges are the same turned round.
    """
    found = dict(edges)
    for (source, relation, destination), index in edges.items():
        reverse = (destination, f"rev_{relation}", source)
        if source == destination:
            has_reverse = reverse in edges or relation.startswith("rev_")
        else:
            back = {other[1]: there for other, there in edges.items() if (other[0], other[2]) == (destination, source)}
            has_reverse = any(name == reverse[1] or relation == f"rev_{name}" for name in back)
            has_reverse = has_reverse or any(_are_turned_round(index, there) for there in back.values())
        if not has_reverse:
            found[reverse] = np.asarray(index)[::-1]
    return found


def _are_turned_round(index: Any, other: Any) -> bool:
    """Whether the edges `other` are those of `index` in the other direction, in whatever order."""
    there, back = np.asarray(index), np.asarray(other)[::-1]
    if there.shape != back.shape or there.ndim != 2 or len(there) != 2:
        return False
    return all(np.array_equal(a, b) for a, b in zip(*(e[:, np.lexsort(e)] for e in (there, back)), strict=True))


def reaches_back(data: HeteroData, path: MetaPath) -> np.ndarray:
    """Whether each target has an instance of the path at all, as a mask; linear in the number of edges."""
    alive = np.ones(int(data[path.node_types[-1]].num_nodes), dtype=bool)
    for edge_type in reversed(path.edge_types):
        source, destination = data[edge_type].edge_index.numpy()
        before = np.zeros(int(data[edge_type[0]].num_nodes), dtype=bool)
        before[source[alive[destination]]] = True
        alive = before
    return alive


def _feature_tensor(name: str, matrix: Features, node_counts: Mapping[str, int], normalize: bool, where: str) -> Tensor:
    if name not in node_counts:
        raise DataError(f"{where}: features of {name!r}, which is no node type. Node types: {', '.join(node_counts)}.")
    if matrix.shape[0] != node_counts[name]:
        raise DataError(
            f"{where}: features of {name!r} have {matrix.shape[0]} rows, expected {node_counts[name]}, the nodes."
        )
    bad = np.flatnonzero(~np.isfinite(matrix.data if sp.issparse(matrix) else matrix.ravel()))
    if len(bad):
        raise DataError(f"{where}: features of {name!r} hold {len(bad)} values that are not finite.")
    if sp.issparse(matrix) and not np.all(matrix.data):
        matrix = sp.csr_matrix(matrix, copy=True)
        matrix.eliminate_zeros()  # here, not where it is used: there the arrays are those of the graph
    if normalize:
        matrix = sparse.normalize_rows(matrix)
    return sparse.to_torch(matrix) if sp.issparse(matrix) else torch.from_numpy(matrix.astype(np.float32))


def _edge_tensor(edge_type: EdgeType, index: Any, node_counts: Mapping[str, int], where: str) -> Tensor:
    index = np.asarray(index)
    if index.ndim != 2 or index.shape[0] != 2 or not np.issubdtype(index.dtype, np.integer):
        raise DataError(
            f"{where}: edges {edge_type} have shape {index.shape} of {index.dtype}, expected (2, edges) integers."
        )
    for side, name in ((0, edge_type[0]), (1, edge_type[2])):
        if name not in node_counts:
            raise DataError(f"{where}: edges {edge_type} name {name!r}. Node types: {', '.join(node_counts)}.")
        wrong = np.flatnonzero((index[side] < 0) | (index[side] >= node_counts[name]))
        if len(wrong):
            raise DataError(
                f"{where}: edges {edge_type}, row {wrong[0]}: {name} {index[side, wrong[0]]} is out of bounds, "
                f"expected 0 to {node_counts[name] - 1} ({len(wrong)} such rows)."
            )
    return torch.from_numpy(np.ascontiguousarray(index, dtype=np.int64))


def _check_types(data: HeteroData, where: str) -> None:
    joined = {name for e in data.edge_types if data[e].edge_index.shape[1] for name in (e[0], e[2])}
    for name in data.node_types:
        if name not in joined and "x" not in data[name]:
            raise DataError(
                f"{where}: node type {name!r} has neither features nor edges, so nothing is known about its "
                f"{data[name].num_nodes} nodes. Give one of them, or leave the type out."
            )
