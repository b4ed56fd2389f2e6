"""IdfFeatures: bags of words in which a word that few nodes have weighs more."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.graph_source import WrappedGraph
from medgraph.data.graphs import Graph
from medgraph.data.spec import GraphSpec

_BAG_BELOW = 0.3  # share of non-zero entries up to which features that are never negative count as bags


class IdfFeatures(WrappedGraph):
    """Another source's graph, its bags of words weighed by inverse document frequency [1].

    A feature j that n_j of n nodes have is multiplied by log((n + 1) / n_j)^a; each row then gets its sum back. With
    a = 1/2 the dot product of two nodes counts the frequency of a word that they share once, with 1 twice.

    Bags are features that are never negative and at most 30 % non-zero. Others, as numbers or embeddings, stay as they
    are; one-hot features stay the same by themselves.

    [1] Sparck Jones, A statistical interpretation of term specificity, Journal of Documentation 1972.

    Args:
        source: The graph.
        power: The exponent a, from 0, which changes nothing, to 1.
    """

    def __init__(self, source: Any, power: float = 0.5):
        super().__init__(source)
        self.power = checks.between("power", power, 0.0, 1.0)

    def __repr__(self) -> str:
        return f"IdfFeatures({self.source!r}, power={self.power})"

    @property
    def spec(self) -> GraphSpec:
        """The other source's: widths stay."""
        return self.source.spec  # type: ignore[no-any-return]

    def read(self) -> Graph:
        """The graph with its bags weighed."""
        graph: Graph = self.source.graph
        data = copy.copy(graph.data)
        for name in data.node_types:
            if "x" not in data[name]:
                continue
            matrix = sparse.to_scipy(data[name].x)
            if matrix.nnz <= _BAG_BELOW * matrix.shape[0] * matrix.shape[1] and (matrix.data > 0).all():
                data[name].x = sparse.to_torch(_weighed(matrix, self.power))
        return replace(graph, data=data)


def _weighed(bags: sp.csr_matrix, power: float) -> sp.csr_matrix:
    """Columns times log((n + 1) / n_j)^power, rows with the sums that they had."""
    having = np.bincount(bags.indices, minlength=bags.shape[1])
    weights = np.log((bags.shape[0] + 1) / np.maximum(having, 1)) ** power
    values = bags.data * weights[bags.indices]
    found = sp.csr_matrix((values, bags.indices, bags.indptr), shape=bags.shape)
    sums, before = (np.asarray(m.sum(axis=1), dtype=np.float64).ravel() for m in (found, bags))
    scale = np.divide(before, sums, out=np.zeros_like(sums), where=sums > 0)
    found.data = values * np.repeat(scale, np.diff(bags.indptr))
    return found
