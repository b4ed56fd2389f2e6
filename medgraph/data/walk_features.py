"""WalkFeatures: node types without features get those that random walks along meta-paths teach, MetaPath2Vec's."""

import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch_geometric.nn import MetaPath2Vec

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.array_cache import ArrayCache, content_key
from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Graph
from medgraph.data.metapath import MetaPath, parse_metapath
from medgraph.data.spec import GraphSpec
from medgraph.errors import ConfigError

_VERSION = 1  # raise it when training computes something else: old features are then not found
_WINDOWS = 20_000  # of one step
_INIT_STD = 0.1  # torch's 1.0 takes many steps to forget: dot products then start at +-8


class WalkFeatures(GraphSource):
    """Another source's graph, its node types without features filled by skip-gram on random walks [1].

    For each meta-path one model is trained: nodes that follow each other on walks along it, over and over, come to lie
    close, others apart. A node type takes the vectors of all its meta-paths side by side; a node that none of a path's
    edges touches has zeros there. Walks see no labels. Training takes minutes on a graph of 50,000 nodes; its result is
    kept on disk under a hash of the edges and of every setting, so that later stages and runs find it ready.

    [1] Dong et al., metapath2vec, KDD 2017; PyG's MetaPath2Vec.

    Args:
        source: The graph.
        walks: Meta-paths by node type, each from its first type back to it: `{paper: [pap, prp], author: [apa]}`. None
            gives every type without features all meta-paths of the graph that pass it.
        dim: Width of the vectors of one meta-path.
        walk_length: Steps of a walk.
        walks_per_node: Walks from each node of the path's first type in an epoch.
        context_size: Nodes of a window: its first is drawn to the others.
        epochs: Times that all walks are drawn and learned.
        lr: Learning rate of Adam.
        normalize: Divide each row by its sum of absolute values.
        per_path: Give each meta-path of the target the vectors of its own walks alone, as MEOW's authors do, instead of
            all of them to all paths; needs a target without features.
        walk_seed: Draws weights and walks; independent of the seed of a run.
    """

    def __init__(
        self,
        source: Any,
        walks: dict[str, list[str]] | None = None,
        dim: int = 64,
        walk_length: int = 20,
        walks_per_node: int = 5,
        context_size: int = 7,
        epochs: int = 5,
        lr: float = 0.05,
        normalize: bool = True,
        per_path: bool = False,
        walk_seed: int = 0,
    ):
        self.source, self.walks = source, walks
        self.dim = checks.at_least("dim", dim, 1)
        self.walk_length = checks.at_least("walk_length", walk_length, 1)
        self.walks_per_node = checks.at_least("walks_per_node", walks_per_node, 1)
        self.context_size = checks.at_least("context_size", context_size, 2)
        self.epochs = checks.at_least("epochs", epochs, 1)
        self.lr = checks.positive("lr", lr)
        self.normalize, self.per_path, self.walk_seed = normalize, per_path, walk_seed
        if context_size > walk_length + 1:
            raise ValueError(
                f"context_size: expected at most {walk_length + 1}, the nodes of a walk, got {context_size}"
            )

    def __repr__(self) -> str:
        return f"WalkFeatures({self.source!r}, dim={self.dim})"

    @cached_property
    def plan(self) -> dict[str, tuple[MetaPath, ...]]:
        """The meta-paths that give each node type its features.

        Raises:
            ConfigError: A type is not there, has features, lies on none of the paths, or has none to lie on.
        """
        graph = self.structure
        spec = graph.spec
        if self.walks is None:
            empty = [name for name, width in spec.feature_dims.items() if not width]
            return {name: self._passing(name, [graph.metapath(path) for path in graph.metapaths]) for name in empty}
        found = {}
        for name, texts in self.walks.items():
            if name not in spec.node_counts:
                raise ConfigError(f"walks.{name}: no such node type. Node types: {', '.join(spec.node_counts)}.")
            if spec.feature_dims[name]:
                raise ConfigError(f"walks.{name}: {name} has features of its own, {spec.feature_dims[name]} wide.")
            paths = [parse_metapath(text, graph.data.edge_types, None) for text in texts]
            found[name] = self._passing(name, paths)
            if len(found[name]) < len(paths):
                outside = next(path.name for path in paths if name not in path.node_types)
                raise ConfigError(f"walks.{name}: meta-path {outside!r} does not pass {name}.")
        return found

    @staticmethod
    def _passing(name: str, paths: list[MetaPath]) -> tuple[MetaPath, ...]:
        passing = tuple(path for path in paths if name in path.node_types)
        if not passing:
            raise ConfigError(f"walks: {name} has no features, and no meta-path passes it; name one in walks.{name}.")
        return passing

    @property
    def structure(self) -> Graph:
        """The other source's graph."""
        return self.source.structure

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
        settings = [self.dim, self.walk_length, self.walks_per_node, self.context_size, self.epochs, self.lr]
        types = sorted(set(path.node_types))
        counts = {name: int(graph.data[name].num_nodes) for name in types}
        edges = [graph.data[edge_type].edge_index.numpy() for edge_type in path.edge_types]
        key = content_key(edges, [_VERSION, path.edge_types, counts, settings, self.walk_seed])
        cache = ArrayCache("walks")
        found = cache.get(key, types)
        if found is None:
            found = self._train(graph, path, counts)
            cache.put(key, found)
        return found

    def _train(self, graph: Graph, path: MetaPath, counts: dict[str, int]) -> dict[str, np.ndarray]:
        edges = {edge_type: graph.data[edge_type].edge_index for edge_type in path.edge_types}
        with torch.random.fork_rng(devices=[]), torch.enable_grad():  # PyG draws from the global state: lend it ours
            torch.manual_seed(self.walk_seed)
            model = MetaPath2Vec(
                edges,
                self.dim,
                list(path.edge_types),
                self.walk_length,
                self.context_size,
                self.walks_per_node,
                num_nodes_dict=counts,
            )
            nn.init.normal_(model.embedding.weight, std=_INIT_STD)
            optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
            windows = self.walks_per_node * (self.walk_length + 2 - self.context_size)
            for _ in range(self.epochs):
                for positive, negative in model.loader(batch_size=max(_WINDOWS // windows, 1), shuffle=True):
                    optimizer.zero_grad()
                    model.loss(positive, negative).backward()
                    optimizer.step()
        vectors = {name: model(name).detach().numpy().copy() for name in counts}
        for name, rows in vectors.items():
            rows[~_touched(name, edges, len(rows))] = 0
        return vectors


def _touched(name: str, edges: dict[Any, torch.Tensor], count: int) -> np.ndarray:
    """Whether any of the edges touches each node of a type."""
    touched = np.zeros(count, dtype=bool)
    for edge_type, index in edges.items():
        for side, end in ((0, edge_type[0]), (1, edge_type[2])):
            if end == name:
                touched[index[side].numpy()] = True
    return touched
