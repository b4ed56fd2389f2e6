"""Context operators of a meta-path in their cheapest exact form."""

from typing import Literal, cast

import numpy as np
import scipy.sparse as sp

from medgraph.data.graphs import Graph
from medgraph.data.metapath import MetaPath
from medgraph.hetero.operators import Chain, Operator, SparseOperator
from medgraph.transforms.metapaths import context_operators


def context_of(graph: Graph, path: MetaPath, mode: str) -> tuple[tuple[str, Operator], ...]:
    """Node type and operator (targets x nodes of the type) of each intermediate position of a path.

    Each row is a mean over the nodes that a target reaches. Where no node can be reached in two ways, as papers
    through their only conference, the mean over all reachable nodes is a product of two small matrices: it is kept as
    that, exactly, instead of the millions of entries of the product.

    Args:
        graph: The graph.
        path: The meta-path.
        mode: "reachable"; "factored" for means of means; or "auto", factored where more than 2e7 entries may come.
    """
    factored = context_operators(graph, path, "factored")
    if mode != "factored":
        exact = [_exact(item) if isinstance(item, tuple) else SparseOperator(item) for item in factored]
        if any(item is None for item in exact):
            whole = context_operators(graph, path, cast(Literal["reachable", "auto"], mode))
            exact = [_operator(whole[i]) if item is None else item for i, item in enumerate(exact)]
        operators: list[Operator] = [item for item in exact if item is not None]
    else:
        operators = [_operator(item) for item in factored]
    return tuple(zip(path.node_types[1:-1], operators, strict=True))


def _operator(item: sp.csr_matrix | tuple[sp.csr_matrix, sp.csr_matrix]) -> Operator:
    return Chain([SparseOperator(m) for m in item]) if isinstance(item, tuple) else SparseOperator(item)


def _exact(pair: tuple[sp.csr_matrix, sp.csr_matrix]) -> Operator | None:
    """The mean over reachable nodes as a chain; None where a node may be reached in two ways."""
    left, right = (_pattern(matrix) for matrix in pair)
    if np.bincount(right.indices, minlength=right.shape[1]).max(initial=0) > 1:
        return None
    reached = left @ np.diff(right.indptr)  # how many nodes each target reaches
    scale = np.divide(1.0, reached, out=np.zeros(len(reached)), where=reached > 0)
    return Chain([SparseOperator(sp.diags(scale) @ left), SparseOperator(right)])


def _pattern(matrix: sp.csr_matrix) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
