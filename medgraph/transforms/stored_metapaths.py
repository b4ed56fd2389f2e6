"""The best neighbours along a meta-path, from the disk where they were counted before."""

import time
from typing import Any

import scipy.sparse as sp

from medgraph.data import sparse
from medgraph.data.array_cache import ArrayCache, content_key
from medgraph.data.graphs import Graph
from medgraph.data.metapath import MetaPath
from medgraph.transforms.metapaths import top_k_neighbours

_VERSION = 3  # raise it when `top_k_neighbours` computes something else: old files are then not found
_WORTH_SECONDS = 2.0  # counting that is faster than this is not kept
_PARTS = ("data", "indices", "indptr")


def stored_top_k(graph: Graph, path: MetaPath, k: int, **settings: Any) -> sp.csr_matrix:
    """`top_k_neighbours`, kept on disk under a hash of every setting, the edges along the path, and features if used.

    Args:
        graph: The graph.
        path: The meta-path.
        k: Neighbours of a target, itself included.
        settings: As `top_k_neighbours` takes them.
    """
    arrays = [graph.data[edge_type].edge_index.numpy() for edge_type in path.edge_types]
    if settings.get("ties") == "features" and "x" in graph.data[graph.target_type]:
        features = sparse.to_scipy(graph.data[graph.target_type].x)
        arrays += [getattr(features, part) for part in _PARTS]
    counts = {name: int(graph.data[name].num_nodes) for name in path.node_types}
    key = content_key(arrays, [_VERSION, path.edge_types, counts, k, settings])
    cache = ArrayCache("metapaths")
    found = cache.get(key, _PARTS)
    if found is not None:
        return sp.csr_matrix(tuple(found[part] for part in _PARTS), shape=(graph.num_targets,) * 2)
    start = time.perf_counter()
    matrix = top_k_neighbours(graph, path, k, **settings)
    if time.perf_counter() - start >= _WORTH_SECONDS:
        cache.put(key, {part: getattr(matrix, part) for part in _PARTS})
    return matrix
