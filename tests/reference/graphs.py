"""Small heterogeneous graphs and slow, obvious meta-path builders."""

import numpy as np

from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Graph, make_graph


def random_graph(seed: int = 0, targets: int = 30, authors: int = 20, subjects: int = 4, **arguments) -> Graph:
    """Papers with authors (some without) and subjects; authors have features."""
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, [targets - 3, authors], (2 * targets, 2)), axis=0).T
    subject = np.stack([np.arange(targets), rng.integers(0, subjects, targets)])
    arguments.setdefault("features", {"author": rng.random((authors, 5))})
    return make_graph(
        "paper",
        {"paper": targets, "author": authors, "subject": subjects},
        {("paper", "to", "author"): pairs, ("paper", "to", "subject"): subject},
        **arguments,
    )


class Given(GraphSource):
    """A graph that is there already."""

    def __init__(self, graph: Graph):
        self.given = graph

    def read(self) -> Graph:
        return self.given


def dense_counts(graph: Graph, path) -> np.ndarray:
    """Products of dense 0/1 matrices along a path."""
    total = np.eye(graph.num_targets)
    for source, relation, destination in path.edge_types:
        step = np.zeros((graph.data[source].num_nodes, graph.data[destination].num_nodes))
        for a, b in graph.data[source, relation, destination].edge_index.T.tolist():
            step[a, b] = 1
        total = total @ step
    return total


def loop_top_k(counts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Kept counts and PathSim of the k best of each row: one row, one sorted list at a time."""
    own = np.diag(counts)
    kept, similarity = np.zeros_like(counts), np.zeros_like(counts)
    for i, row in enumerate(counts):
        ranked = [(i != j, -2 * row[j] / (own[i] + own[j]), j) for j in np.flatnonzero(row)]
        for _, score, j in sorted(ranked)[:k]:
            kept[i, j], similarity[i, j] = row[j], -score
    return kept, similarity
