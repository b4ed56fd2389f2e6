"""WalkVectors: node types without features get vectors that say which nodes walks along meta-paths bring together."""

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.array_cache import ArrayCache, content_key
from medgraph.data.graph_source import WrappedGraph
from medgraph.data.graphs import Graph
from medgraph.data.metapath import MetaPath, parse_metapath
from medgraph.data.spec import GraphSpec
from medgraph.errors import ConfigError


class WalkVectors(WrappedGraph):
    """Another source's graph, its node types without features filled by vectors of random walks along meta-paths.

    For each meta-path one set of vectors is made. A node type takes the vectors of all its meta-paths side by side; a
    node that none of a path's edges touches has zeros there. Walks see no labels. The vectors are kept on disk under a
    hash of the edges and of every setting, so that later stages and runs find them ready.

    Args:
        source: The graph.
        walks: Meta-paths by node type, each from its first type back to it: `{paper: [pap, prp], author: [apa]}`. None
            gives every type without features all meta-paths of the graph that pass it; one that none passes stays.
        dim: Width of the vectors of one meta-path.
        normalize: Divide each row by its sum of absolute values.
        per_path: Give each meta-path of the target the vectors of its own walks alone, as MEOW's authors do, instead of
            all of them to all paths; needs a target without features, or in `replace`.
        replace: Node types whose own features give way to the vectors.
        walk_seed: Seed of what is drawn; independent of the seed of a run.
    """

    def __init__(
        self,
        source: Any,
        walks: dict[str, list[str]] | None,
        dim: int,
        normalize: bool,
        per_path: bool,
        replace: tuple[str, ...],
        walk_seed: int,
    ):
        super().__init__(source)
        self.walks, self.replace = walks, replace
        self.dim = checks.at_least("dim", dim, 1)
        self.normalize, self.per_path, self.walk_seed = normalize, per_path, walk_seed

    @abstractmethod
    def train(self, graph: Graph, path: MetaPath, counts: dict[str, int]) -> dict[str, np.ndarray]:
        """Vectors (nodes, dim) of each node type of `counts`, the types on the path and how many nodes they have."""

    @abstractmethod
    def settings(self) -> list[Any]:
        """What the vectors depend on besides the edges; the first says who computes them, and in which version."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, dim={self.dim})"

    @cached_property
    def plan(self) -> dict[str, tuple[MetaPath, ...]]:
        """The meta-paths that give each node type its features.

        Raises:
            ConfigError: A type is not there, has features that stay, lies on none of the paths, or has none to lie on.
        """
        graph = self.structure
        spec = graph.spec
        for key, names in (("walks", self.walks or ()), ("replace", self.replace)):
            for name in names:
                if name not in spec.node_counts:
                    raise ConfigError(f"{key}.{name}: no such node type. Node types: {', '.join(spec.node_counts)}.")
        has_own = {name: bool(width) and name not in self.replace for name, width in spec.feature_dims.items()}
        if self.walks is None:
            paths = [graph.metapath(path) for path in graph.metapaths]
            empty = [name for name, has in has_own.items() if not has]
            found = {name: passing for name in empty if (passing := _passing(name, paths))}
        else:
            found = self._named(graph, has_own)
        for name in self.replace:
            if name not in found:
                raise ConfigError(f"replace.{name}: no walks give {name} vectors in place of its features.")
        return found

    def _named(self, graph: Graph, has_own: dict[str, bool]) -> dict[str, tuple[MetaPath, ...]]:
        """The meta-paths that `walks` names."""
        found = {}
        for name, texts in (self.walks or {}).items():
            if has_own[name]:
                raise ConfigError(
                    f"walks.{name}: {name} has features of its own, {graph.spec.feature_dims[name]} wide; name it in "
                    "replace to give them up."
                )
            paths = [parse_metapath(text, graph.data.edge_types, None) for text in texts]
            found[name] = _passing(name, paths)
            if not found[name]:
                raise ConfigError(
                    f"walks: {name} has no features, and no meta-path passes it; name one in walks.{name}."
                )
            if len(found[name]) < len(paths):
                outside = next(path.name for path in paths if name not in path.node_types)
                raise ConfigError(f"walks.{name}: meta-path {outside!r} does not pass {name}.")
        return found

    @property
    def bound_types(self) -> tuple[str, ...]:
        """The types that get vectors, and those of the other source."""
        return (*self.source.bound_types, *self.plan)

    @property
    def spec(self) -> GraphSpec:
        """Facts of the graph with the widths that the walks will give; nothing is trained for it.

        Raises:
            ConfigError: `per_path`, but no walks give the target its features.
        """
        spec: GraphSpec = self.source.spec
        widths = {name: self.dim * len(paths) for name, paths in self.plan.items()}
        blocks = {}
        if self.per_path:
            if spec.target_type not in self.plan:
                raise ConfigError(
                    f"per_path: no walks give {spec.target_type}, the target, its features; set it to false"
                )
            blocks = {path.name: self.dim for path in self.plan[spec.target_type]}
        return replace(spec, feature_dims={**spec.feature_dims, **widths}, path_feature_dims=blocks)

    def read(self) -> Graph:
        """The graph with all features; trains what the cache does not hold."""
        graph: Graph = self.source.graph
        vectors = {path.edge_types: self._vectors(graph, path) for paths in self.plan.values() for path in paths}
        data = copy.copy(graph.data)
        for name, paths in self.plan.items():
            joined = np.concatenate([vectors[path.edge_types][name] for path in paths], axis=1)
            data[name].x = torch.from_numpy(sparse.normalize_rows(joined) if self.normalize else joined)
        return replace(graph, data=data)

    def _vectors(self, graph: Graph, path: MetaPath) -> dict[str, np.ndarray]:
        """Vectors (nodes, dim) of each node type on a path, from the cache where it has them."""
        types = sorted(set(path.node_types))
        counts = {name: int(graph.data[name].num_nodes) for name in types}
        edges = [graph.data[edge_type].edge_index.numpy() for edge_type in path.edge_types]
        key = content_key(edges, [*self.settings(), path.edge_types, counts, self.walk_seed])
        cache = ArrayCache("walks")
        found = cache.get(key, types)
        if found is None:
            found = self.train(graph, path, counts)
            for name, rows in found.items():
                rows[~_touched(name, graph, path, len(rows))] = 0
            cache.put(key, found)
        return found


def _passing(name: str, paths: list[MetaPath]) -> tuple[MetaPath, ...]:
    return tuple(path for path in paths if name in path.node_types)


def _touched(name: str, graph: Graph, path: MetaPath, count: int) -> np.ndarray:
    """Whether any of a path's edges touches each node of a type."""
    touched = np.zeros(count, dtype=bool)
    for edge_type in path.edge_types:
        for side, end in ((0, edge_type[0]), (1, edge_type[2])):
            if end == name:
                touched[graph.data[edge_type].edge_index[side].numpy()] = True
    return touched
