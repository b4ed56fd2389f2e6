"""Relations as sparse 0/1 matrices, and their products along a meta-path: numbers of path instances."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch

from medgraph.data.graphs import Graph
from medgraph.data.metapath import EdgeType, MetaPath


def incidence(graph: Graph, edge_type: EdgeType) -> sp.csr_matrix:
    """Source nodes x destination nodes, 1 where an edge joins them; an edge listed twice counts once."""
    source, destination = graph.data[edge_type].edge_index.numpy()
    shape = (int(graph.data[edge_type[0]].num_nodes), int(graph.data[edge_type[2]].num_nodes))
    matrix = sp.csr_matrix((np.ones(len(source)), (source, destination)), shape=shape)
    matrix.data[:] = 1
    return matrix


def chain(graph: Graph, start: str, edge_types: Sequence[EdgeType]) -> sp.csr_matrix:
    """Nodes of type `start` x nodes at the end of the steps: the number of ways along them. No steps: the identity."""
    matrix = sp.identity(int(graph.data[start].num_nodes), format="csr")
    for number, edge_type in enumerate(edge_types):
        step = incidence(graph, edge_type)
        matrix = matrix @ step if number else step
    return matrix


def halves(graph: Graph, path: MetaPath) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """The two factors of a path's counts: targets x nodes in its middle, and those x targets."""
    middle = len(path.edge_types) // 2
    left = chain(graph, path.node_types[0], path.edge_types[:middle])
    return left, chain(graph, path.node_types[middle], path.edge_types[middle:])


def has_mirror_image(graph: Graph, path: MetaPath) -> bool:
    """Whether a path is its own mirror image: each step back is one out, turned round. No product where edges tell."""
    edges = [graph.data[edge_type].edge_index for edge_type in path.edge_types]
    if len(edges) % 2 == 0 and all(torch.equal(a.flip(0), b) for a, b in zip(edges, edges[::-1], strict=True)):
        return True
    return is_mirrored(*halves(graph, path))


def self_counts(left: sp.csr_matrix, right: sp.csr_matrix) -> np.ndarray:
    """Diagonal of left @ right: the number of path instances from each target back to itself."""
    return np.asarray(left.multiply(right.T).sum(axis=1)).ravel()


def is_mirrored(left: sp.csr_matrix, right: sp.csr_matrix) -> bool:
    """Whether the second half of a path is the first one backwards, so that its counts are symmetric."""
    return left.shape == right.shape[::-1] and (left != right.T.tocsr()).nnz == 0
