"""A small graph with three planted classes, two meta-paths, and hidden labels."""

import numpy as np
import torch

from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Graph, make_graph
from medgraph.hetero.encoder import MetapathEncoder
from medgraph.hetero.views import MetapathViews


def planted_edges(rng, classes, groups, degree, purity):
    """Each target joins `degree` nodes, mostly of the group that belongs to its class."""
    rows, columns = [], []
    for target, label in enumerate(classes):
        own = np.flatnonzero(groups == label)
        chosen = [rng.choice(own) if rng.random() < purity else rng.integers(len(groups)) for _ in range(degree)]
        rows += [target] * len(set(chosen))
        columns += sorted(set(chosen))
    return np.array([rows, columns])


def planted_graph(num_targets=90, seed=0, purity=0.8, order=None) -> Graph:
    """Papers of three fields with authors and subjects; `order` renumbers the papers."""
    rng = np.random.default_rng(seed)
    classes = np.arange(num_targets) % 3
    author_edges = planted_edges(rng, classes, np.arange(60) % 3, 3, purity)
    subject_edges = planted_edges(rng, classes, np.arange(9) % 3, 1, purity)
    words = np.arange(30) % 3
    features = (rng.random((num_targets, 30)) < np.where(classes[:, None] == words, 0.3, 0.12)).astype(np.float32)
    split = rng.permutation(num_targets)
    parts = {"train": split[:30], "val": split[30:60], "test": split[60:]}
    if order is not None:
        place = np.argsort(order)
        classes, features = classes[order], features[order]
        author_edges[0], subject_edges[0] = place[author_edges[0]], place[subject_edges[0]]
        parts = {name: place[part] for name, part in parts.items()}
    return make_graph(
        "paper",
        {"paper": num_targets, "author": 60, "subject": 9},
        {("paper", "to", "author"): author_edges, ("paper", "to", "subject"): subject_edges},
        {"paper": features},
        classes,
        {"10": parts},
        ["pap", "psp"],
    )


class PlantedSource(GraphSource):
    """The graph as a source, or another graph that is there already."""

    def __init__(self, graph=None):
        self.given = graph

    def read(self) -> Graph:
        return self.given or planted_graph()


def planted_views(graph=None, **arguments) -> MetapathViews:
    """Views of the planted graph."""
    settings = {"top_k": (20, 30), "feature_mask": 0.2, "edge_masks": (0.2,), **arguments}
    return MetapathViews(PlantedSource(graph), **settings)


def encoder_for(data, **arguments) -> MetapathEncoder:
    """A small encoder, seeded."""
    torch.manual_seed(0)
    return MetapathEncoder(data.spec, **{"dim": 16, "dropout": 0.0, **arguments})
