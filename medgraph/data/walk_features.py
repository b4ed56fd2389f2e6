"""WalkFeatures: vectors of drawn random walks along meta-paths, trained by skip-gram: MetaPath2Vec."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch_geometric.nn import MetaPath2Vec

from medgraph import checks
from medgraph.data.graphs import Graph
from medgraph.data.metapath import MetaPath
from medgraph.data.walk_vectors import WalkVectors

_VERSION = 1  # raise it when training computes something else: old features are then not found
_WINDOWS = 20_000  # of one step
_INIT_STD = 0.1  # torch's 1.0 takes many steps to forget: dot products then start at +-8


class WalkFeatures(WalkVectors):
    """Another source's graph, its node types without features filled by skip-gram on random walks [1].

    For each meta-path one model is trained: nodes that follow each other on walks along it, over and over, come to lie
    close, others apart. Training takes minutes on a graph of 50,000 nodes and goes on improving for hours;
    `factorized_walks` gives what it would end with where the target has at most some ten thousand nodes.

    [1] Dong et al., metapath2vec, KDD 2017; PyG's MetaPath2Vec.

    Args:
        source: The graph.
        walks: Meta-paths by node type, each from its first type back to it: `{paper: [pap, prp], author: [apa]}`. None
            gives every type without features all meta-paths of the graph that pass it; one that none passes stays.
        dim: Width of the vectors of one meta-path.
        walk_length: Steps of a walk.
        walks_per_node: Walks from each node of the path's first type in an epoch.
        context_size: Nodes of a window: its first is drawn to the others.
        epochs: Times that all walks are drawn and learned.
        lr: Learning rate of Adam.
        normalize: Divide each row by its sum of absolute values.
        per_path: Give each meta-path of the target the vectors of its own walks alone, as MEOW's authors do, instead of
            all of them to all paths; needs a target without features, or in `replace`.
        replace: Node types whose own features give way to the vectors.
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
        replace: tuple[str, ...] = (),
        walk_seed: int = 0,
    ):
        super().__init__(source, walks, dim, normalize, per_path, replace, walk_seed)
        self.walk_length = checks.at_least("walk_length", walk_length, 1)
        self.walks_per_node = checks.at_least("walks_per_node", walks_per_node, 1)
        self.context_size = checks.at_least("context_size", context_size, 2)
        self.epochs = checks.at_least("epochs", epochs, 1)
        self.lr = checks.positive("lr", lr)
        if context_size > walk_length + 1:
            raise ValueError(
                f"context_size: expected at most {walk_length + 1}, the nodes of a walk, got {context_size}"
            )

    def settings(self) -> list[Any]:
        """See `WalkVectors`."""
        shape = [self.dim, self.walk_length, self.walks_per_node, self.context_size]
        return ["skip_gram", _VERSION, *shape, self.epochs, self.lr]

    def train(self, graph: Graph, path: MetaPath, counts: dict[str, int]) -> dict[str, np.ndarray]:
        """See `WalkVectors`."""
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
        return {name: model(name).detach().numpy().copy() for name in counts}
