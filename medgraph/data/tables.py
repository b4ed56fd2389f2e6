"""A user's own graph from tables: one for each node type and each relation, as CSV, TSV or parquet."""

import os
import warnings
from collections.abc import Collection
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Features, Graph, make_graph
from medgraph.data.metapath import EdgeType
from medgraph.data.missing import MISSING
from medgraph.data.numpy_files import read_array
from medgraph.data.table_features import categorical_features, embedding_features, join_features, numeric_features
from medgraph.data.table_files import read_table, rows_of, unique_keys
from medgraph.errors import ConfigError, DataError

_NODE_KEYS = ("file", "key", "numeric", "categorical", "embeddings", "embedding_ids", "label", "split")
_EDGE_KEYS = ("file", "source", "relation", "destination", "source_key", "destination_key")
_FILES = ("file", "embeddings", "embedding_ids")
_PARTS = {"train": "train", "val": "val", "validation": "val", "test": "test"}


class TablesGraph(GraphSource):
    """A graph of your own, from tables whose rows are nodes or edges.

    A node table is described by `file`, `key` (the column that names a node), and what of it is used: `numeric` columns
    (standardized), `categorical` columns (one-hot), `embeddings` (an `.npy` that an encoder exported, with
    `embedding_ids`, a table that names the node of each row, in a column called like the key, `id` or `case`, or the
    only one of text), and for the targets `label` and `split`, a column or
    several that say train, val or test. Where a column holds text, the usual spellings of nothing (NA, nan, null, ...)
    are missing values, except in keys. A type without `file` has the nodes that its edges name. An edge table is
    described by `file`, `source` and `destination` (node types), `relation`, and `source_key`, `destination_key`, the
    columns with the keys; these default to the `key` of the node table.

    Args:
        root: Folder that files are relative to.
        target_type: Node type that is embedded.
        nodes: Description of each node type.
        edges: Description of each relation.
        splits: More splits, as files: name -> part -> `.npy` of row numbers, or a table with the target's key column.
        metapaths: Names or lists of edge types; None takes all of one or two steps out and back.
        normalize: Divide each row of features by its sum of absolute values: for counts, not for mixed columns.
        categories: By node type and `categorical` column, the categories to make columns of; others count as missing.
            None takes those that are there. Filled in what an encoder keeps of its training.
        scales: By node type and `numeric` column, the mean and the deviation to standardize by. None takes those of
            the column. Filled likewise.
    """

    def __init__(
        self,
        root: str,
        target_type: str,
        nodes: dict[str, dict[str, str | list[str]]],
        edges: list[dict[str, str]],
        splits: dict[str, dict[str, str]] | None = None,
        metapaths: tuple[str | list[list[str]], ...] | None = None,
        normalize: bool = False,
        categories: dict[str, dict[str, list[str]]] | None = None,
        scales: dict[str, dict[str, list[float]]] | None = None,
    ):
        self.root = root
        self.target_type = target_type
        self.nodes = nodes
        self.edges = edges
        self.splits = splits or {}
        self.metapaths = metapaths
        self.normalize = normalize
        self.categories, self.scales = categories or {}, scales or {}
        if target_type not in nodes:
            raise ConfigError(f"target_type: {target_type!r} is not among nodes{_hint(target_type, nodes)}")
        for name, files in self.splits.items():
            if {"val", "validation"} <= set(files):
                raise ConfigError(f"splits.{name}: names validation twice, as val and as validation; leave one out")
        for name, table in nodes.items():
            _check_keys(f"nodes.{name}", table, _NODE_KEYS, ("file", "key") if table else ())
        for number, edge in enumerate(edges):
            _check_keys(f"edges.{number}", edge, _EDGE_KEYS, ("file", "source", "destination"))
            for side in ("source", "destination"):
                if edge[side] not in nodes:
                    raise ConfigError(
                        f"edges.{number}.{side}: {edge[side]!r} is not among nodes{_hint(edge[side], nodes)}"
                    )

    def __repr__(self) -> str:
        return f"TablesGraph(root={str(self.root)!r}, target_type={self.target_type!r})"

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`: with the categories and scales of the columns."""
        self.graph  # noqa: B018  (is read by now)
        return {**node, "categories": self._found[0], "scales": self._found[1]}

    def without_labels(self) -> "TablesGraph":
        """See `GraphSource`: label and split columns need not be there."""
        other = copy(self)
        other.__dict__.pop("graph", None)
        target = {role: value for role, value in self.nodes[self.target_type].items() if role not in ("label", "split")}
        other.nodes, other.splits = {**self.nodes, self.target_type: target}, {}
        return other

    def read(self) -> Graph:
        """Read all tables."""
        self._found: tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[float]]]] = ({}, {})
        notes: list[str] = []
        tables = {name: self._read_nodes(name) for name in self.nodes}
        ends = [self._read_edges(number) for number in range(len(self.edges))]
        keys = {name: self._keys(name, tables[name], ends) for name in self.nodes}
        edges: dict[EdgeType, np.ndarray] = {}
        for table, columns in zip(self.edges, ends, strict=True):
            edge_type = (table["source"], table.get("relation", "to"), table["destination"])
            sides = [
                rows_of(columns[0], keys[edge_type[0]], f"{self._file(table['file'])}, source", edge_type[0]),
                rows_of(columns[1], keys[edge_type[2]], f"{self._file(table['file'])}, destination", edge_type[2]),
            ]
            edges[edge_type] = np.concatenate([edges.get(edge_type, np.empty((2, 0), dtype=np.int64)), sides], axis=1)
        features: dict[str, Features] = {}
        for name in self.nodes:
            joined = join_features(self._features(name, tables[name], keys[name], notes))
            if joined is not None:
                features[name] = joined
        counts = {name: len(of_type) for name, of_type in keys.items()}
        labels = self._labels(tables[self.target_type])
        splits = self._splits(tables[self.target_type], keys[self.target_type])
        for note in notes:
            warnings.warn(note, stacklevel=2)
        graph = make_graph(
            self.target_type, counts, edges, features, labels, splits, self.metapaths, self.normalize, str(self.root)
        )
        column = str(self.nodes[self.target_type].get("key", "key"))
        named = {column: keys[self.target_type].to_numpy(zero_copy_only=False)}
        return replace(graph, notes=(*notes, *graph.notes), keys=named)

    @property
    def table_files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        nodes = [_listed(table, role) for table in self.nodes.values() for role in _FILES]
        splits = [list(parts.values()) for parts in self.splits.values()]
        names = [name for names in (*nodes, *splits) for name in names] + [edge["file"] for edge in self.edges]
        return tuple(self._file(name) for name in dict.fromkeys(names))

    def _file(self, name: str) -> Path:
        return Path(os.path.expanduser(self.root)) / name

    def _read_nodes(self, name: str) -> pa.Table | None:
        table = self.nodes[name]
        if not table:
            return None
        columns = [
            column for role in ("key", "numeric", "categorical", "label", "split") for column in _listed(table, role)
        ]
        text = [*_listed(table, "key"), *_listed(table, "split")]
        return read_table(self._file(str(table["file"])), columns, text)

    def _read_edges(self, number: int) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        table = self.edges[number]
        columns = []
        for side in ("source", "destination"):
            default = self.nodes[table[side]].get("key")
            column = table.get(f"{side}_key", default)
            if column is None:
                raise ConfigError(
                    f"edges.{number}: missing key '{side}_key', as node type {table[side]!r} has no table"
                )
            columns.append(str(column))
        found = read_table(self._file(table["file"]), columns, list(dict.fromkeys(columns)))
        return found[columns[0]], found[columns[1]]

    def _keys(self, name: str, table: pa.Table | None, ends: list[tuple[pa.ChunkedArray, pa.ChunkedArray]]) -> pa.Array:
        """Keys of a node table, or, without one, all that the edges name, in order of their text."""
        if table is not None:
            key = str(self.nodes[name]["key"])
            return unique_keys(table[key], f"{self._file(str(self.nodes[name]['file']))}: column {key!r}")
        sides = [
            columns[side]
            for edge, columns in zip(self.edges, ends, strict=True)
            for side, end in enumerate(("source", "destination"))
            if edge[end] == name
        ]
        named = {key for column in sides for key in pc.unique(column).to_pylist()} - {None, ""}
        return pa.array(sorted(named), pa.string())

    def _features(self, name: str, table: pa.Table | None, keys: pa.Array, notes: list[str]) -> list[Features]:
        if table is None:
            return []
        spec = self.nodes[name]
        file = self._file(str(spec["file"]))
        blocks: list[Features] = []
        categories, scales = self.categories.get(name, {}), self.scales.get(name, {})
        for column in _listed(spec, "numeric"):
            what = f"{file}: column {column!r}"
            numbers, scale = numeric_features(table[column], what, notes, scales.get(column))
            self._found[1].setdefault(name, {})[column] = scale
            blocks.append(numbers)
        for column in _listed(spec, "categorical"):
            what = f"{file}: column {column!r}"
            one_hot, names = categorical_features(table[column], what, notes, categories.get(column))
            self._found[0].setdefault(name, {})[column] = names
            blocks.append(one_hot)
        ids = _listed(spec, "embedding_ids")
        for number, embeddings in enumerate(_listed(spec, "embeddings")):
            pairing = self._file(ids[number]) if number < len(ids) else None
            blocks.append(embedding_features(self._file(embeddings), pairing, str(spec["key"]), keys, notes))
        return blocks

    def _labels(self, table: pa.Table | None) -> np.ndarray | None:
        label = self.nodes[self.target_type].get("label")
        if table is None or label is None:
            return None
        column = table[str(label)]
        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        return column.to_numpy() if is_number else np.array(column.cast(pa.string()).to_pylist(), dtype=object)

    def _splits(self, table: pa.Table | None, keys: pa.Array) -> dict[str, dict[str, np.ndarray]]:
        spec = self.nodes[self.target_type]
        found: dict[str, dict[str, np.ndarray]] = {}
        for column in _listed(spec, "split"):
            assert table is not None  # a type with keys has a file
            words = np.array([word if word not in MISSING else "" for word in table[column].fill_null("").to_pylist()])
            unknown = sorted(set(words) - set(_PARTS) - {""})
            if unknown:
                raise DataError(
                    f"{self._file(str(spec['file']))}: column {column!r} says {str(unknown[0])!r}, "
                    f"expected {', '.join(_PARTS)} or nothing."
                )
            parts = {
                part: np.isin(words, [word for word, of in _PARTS.items() if of == part]) for part in _PARTS.values()
            }
            found[column] = {part: np.flatnonzero(chosen) for part, chosen in parts.items() if chosen.any()}
        for name, files in self.splits.items():
            found[name] = {_PARTS.get(part, part): self._split_file(self._file(f), keys) for part, f in files.items()}
        return found

    def _split_file(self, file: Path, keys: pa.Array) -> np.ndarray:
        if file.suffix != ".npy":
            key = str(self.nodes[self.target_type].get("key", "id"))
            return rows_of(read_table(file, [key], [key])[key], keys, str(file), self.target_type)
        return read_array(file, f"row numbers of the {self.target_type} table")


def _listed(table: dict[str, Any], role: str) -> list[str]:
    value = table.get(role, [])
    return [value] if isinstance(value, str) else list(value)


def _check_keys(path: str, table: dict[str, Any], known: Collection[str], needed: Collection[str]) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{path}.{key}: a table has no such key{_hint(key, known)}")
    for key in needed:
        if key not in table:
            raise ConfigError(f"{path}: missing key {key!r}")
    for key in {"file", "key", "label"} & set(table):
        if not isinstance(table[key], str):
            raise ConfigError(f"{path}.{key}: expected one name, got {table[key]!r}")
    if len(_listed(table, "embedding_ids")) not in (0, len(_listed(table, "embeddings"))):
        raise ConfigError(f"{path}.embedding_ids: expected one for each of embeddings, or none")


def _hint(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known)}."
