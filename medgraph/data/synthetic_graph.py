"""Graphs with planted classes, from a few nodes to millions, to test and measure with."""

import numpy as np
import scipy.sparse as sp

from medgraph import checks
from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Graph, make_graph


class PlantedGraph(GraphSource):
    """A stochastic block model: targets, and other types whose nodes have a class too and prefer targets of it.

    A target draws its neighbours of each other type: one of its own class with probability `agreement`, else one of any
    class. Features of the targets are noisy: each has `num_words` words, from a vocabulary that is cut into one piece a
    class, with the same preference. The other types are called `group_0`, `group_1`, ... and have no features.

    Args:
        num_targets: Number of target nodes.
        num_classes: Number of classes, of equal size up to one node.
        num_types: Number of other node types; each gives a meta-path of length two.
        nodes_per_type: Nodes of each other type; None takes a tenth of `num_targets`.
        degree: Neighbours that a target draws in each other type; those drawn twice count once.
        agreement: Probability that a neighbour or word is of the target's own class; 0 plants nothing.
        num_words: Words that a target draws.
        vocabulary: Width of the features.
        labelled: Training nodes a class; as many again for validation, the rest is for testing.
        graph_seed: Draws the graph; independent of the seed of a run.
    """

    def __init__(
        self,
        num_targets: int = 300,
        num_classes: int = 3,
        num_types: int = 2,
        nodes_per_type: int | None = None,
        degree: int = 5,
        agreement: float = 0.6,
        num_words: int = 10,
        vocabulary: int = 60,
        labelled: int = 20,
        graph_seed: int = 0,
    ):
        self.num_targets = checks.at_least("num_targets", num_targets, 1)
        self.num_classes = checks.at_least("num_classes", num_classes, 1)
        self.num_types = checks.at_least("num_types", num_types, 1)
        self.nodes_per_type = max(num_targets // 10, num_classes) if nodes_per_type is None else nodes_per_type
        self.degree = checks.at_least("degree", degree, 1)
        self.agreement = checks.fraction("agreement", agreement)
        self.num_words = checks.at_least("num_words", num_words, 1)
        self.vocabulary = checks.at_least("vocabulary", vocabulary, 1)
        self.labelled = checks.at_least("labelled", labelled, 1)
        self.graph_seed = graph_seed
        for name, value in (("nodes_per_type", self.nodes_per_type), ("vocabulary", vocabulary)):
            checks.at_least(name, value, num_classes)
        checks.at_least("num_targets", num_targets, 2 * labelled * num_classes + num_classes)

    def __repr__(self) -> str:
        return f"PlantedGraph(num_targets={self.num_targets}, num_classes={self.num_classes})"

    def read(self) -> Graph:
        """Draw the graph."""
        rng = np.random.default_rng(self.graph_seed)
        labels = rng.permutation(np.arange(self.num_targets) % self.num_classes)
        counts = {"target": self.num_targets}
        edges = {}
        for number in range(self.num_types):
            name = f"group_{number}"
            counts[name] = self.nodes_per_type
            edges[("target", "to", name)] = self._draw(labels, self.degree, self.nodes_per_type, rng)
        targets, words = self._draw(labels, self.num_words, self.vocabulary, rng)
        ones = np.ones(len(words), dtype=np.float32)
        features = sp.csr_matrix((ones, (targets, words)), shape=(self.num_targets, self.vocabulary))
        paths: list[str | list[list[str]]] = [f"target-group_{number}-target" for number in range(self.num_types)]
        splits = {str(self.labelled): self._split(labels, rng)}
        return make_graph("target", counts, edges, {"target": features}, labels, splits, paths, where="planted graph")

    def _draw(self, labels: np.ndarray, each: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """(2, at most targets x each): pairs of a target and one of `size` nodes; node j has class j mod C."""
        own = rng.random((len(labels), each)) < self.agreement
        wanted = np.where(own, labels[:, None], rng.integers(0, self.num_classes, own.shape))
        members = (size - wanted + self.num_classes - 1) // self.num_classes  # nodes j < size with j mod C = wanted
        nodes = wanted + self.num_classes * (rng.random(own.shape) * members).astype(np.int64)
        nodes.sort(axis=1)
        first = np.ones_like(own)
        first[:, 1:] = nodes[:, 1:] != nodes[:, :-1]  # drawn twice counts once
        return np.stack([np.nonzero(first)[0], nodes[first]])

    def _split(self, labels: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        order = rng.permutation(len(labels))
        parts: dict[str, list[np.ndarray]] = {"train": [], "val": [], "test": []}
        for label in range(self.num_classes):
            mine = order[labels[order] == label]
            for part, chosen in zip(parts, np.split(mine, [self.labelled, 2 * self.labelled]), strict=True):
                parts[part].append(chosen)
        return {part: np.sort(np.concatenate(pieces)) for part, pieces in parts.items()}
