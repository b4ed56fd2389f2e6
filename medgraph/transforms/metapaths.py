"""Graphs that meta-paths induce on the targets: counts, the best neighbours by PathSim, normalization.

Every large product is made in blocks of rows and thrown away at once: nothing of size targets x targets exists, unless
it is asked for by `commuting_counts` without `rows`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.graphs import Graph
from medgraph.data.incidence import halves, incidence, is_mirrored, self_counts
from medgraph.data.metapath import MetaPath, default_metapaths, parse_metapath
from medgraph.transforms.draws import pair_uniforms
from medgraph.transforms.metapath_walks import walk_counts
from medgraph.transforms.row_top_k import keep_top, sorted_ranks

__all__ = [
    "MetaPath",
    "coarse_adjacency",
    "commuting_counts",
    "context_operators",
    "default_metapaths",
    "gcn_normalise",
    "parse_metapath",
    "to_fixed_width",
    "top_k_neighbours",
]

_BLOCK_ENTRIES = 1_000_000  # of one block of a product: about 60 MB with its scores
_DENSE_ABOVE = 0.1  # share of non-zero features from which dense products are faster
_SINGLY_BELOW = 0.02  # share of all pairs that tie below which the cosine of each is faster than those of all
_PAIRS = 2**16  # pairs at once then
_DIGITS = 12  # of cosines by dense products, which round equal ones apart
_FACTORED_ENTRIES = 20_000_000  # above this many, "auto" keeps a context operator in two factors

_Rank = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of rows and columns of pairs; the least is kept


def commuting_counts(graph: Graph, path: MetaPath | str, rows: np.ndarray | slice | None = None) -> sp.csr_matrix:
    """Number of path instances between targets, float64.

    Args:
        graph: The graph.
        path: The meta-path, or its name.
        rows: Target numbers to start from; None takes all, which may be dense.
    """
    left, right = halves(graph, _path(graph, path))
    return (left if rows is None else left[rows]) @ right


def context_operators(
    graph: Graph, path: MetaPath | str, mode: Literal["auto", "reachable", "factored"] = "auto"
) -> list[sp.csr_matrix | tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Mean over the nodes that a target reaches by the first 1, 2, ... steps of a path; empty rows stay 0.

    Args:
        graph: The graph.
        path: The meta-path, or its name.
        mode: "reachable": one operator for each position, every reachable node counts once. "factored": positions
            beyond the middle are a pair (targets to middle, middle on) to apply one after the other, far smaller;
            equal only if all middle nodes reach equally many. "auto": factored where more than 2e7 entries may come.
    """
    checks.one_of("mode", mode, ("auto", "reachable", "factored"))
    path = _path(graph, path)
    middle = len(path.edge_types) // 2
    operators: list[sp.csr_matrix | tuple[sp.csr_matrix, sp.csr_matrix]] = []
    reached = sp.identity(graph.num_targets, format="csr")
    to_middle = reached
    beyond = None  # from the middle on, once positions are factored
    for position, edge_type in enumerate(path.edge_types[:-1], start=1):
        step = incidence(graph, edge_type)
        if position <= middle:
            reached = to_middle = _binary(reached @ step)
            operators.append(_row_mean(reached))
            continue
        beyond = step if beyond is None else _binary(beyond @ step)
        if mode == "factored" or (mode == "auto" and _bound(to_middle, beyond).sum() > _FACTORED_ENTRIES):
            operators.append((_row_mean(to_middle), _row_mean(beyond)))
        else:
            operators.append(_row_mean(_binary(to_middle @ beyond)))
    return operators


def top_k_neighbours(
    graph: Graph,
    path: MetaPath | str,
    k: int,
    *,
    edge_value: Literal["count", "pathsim", "binary"] = "count",
    block: int | None = None,
    max_hub_degree: int | None = None,
    walks: int | None = None,
    ties: Literal["column", "random", "features", "argsort"] = "column",
    seed: int = 0,
) -> sp.csr_matrix:
    """The `k` best neighbours of each target along a path, float32, columns in order.

    The order is that of PathSim, 2 A_ij / (A_ii + A_jj) with A the counts [1]; equal ones as `ties` says. Where hubs
    are sampled, A_ij are the paths seen: one through a hub stands for many, but not for many between these two. A
    target with a path back to itself always keeps that. A path that is not its own mirror image has no PathSim: there
    counts decide. Rows may list each other one-sidedly.

    [1] Sun et al., PathSim, VLDB 2011, Definition 2.

    Args:
        graph: The graph.
        path: The meta-path, or its name.
        k: Neighbours of a target, itself included.
        edge_value: What is kept of a neighbour: the count of path instances, PathSim, or 1.
        block: Targets worked on at once; None takes as many as fit about 60 MB. Changes nothing else.
        max_hub_degree: Of a node in the middle with more targets than this, a sample of this size is taken, and what is
            kept of counts through it grows by degree / size. Paths from a target to itself stay exact. None takes all.
        walks: Estimate counts from this many random walks of each target, instead of their product; paths from a target
            to itself stay exact. None counts all.
        ties: Of equally good neighbours keep those of smaller "column", "random" ones, drawn for each pair, or those of
            most alike "features" by cosine, which takes time quadratic in the targets; without features, random ones.
            Where a whole group ties, as targets with one intermediate node each do, "column" has all list the same few;
            so has "argsort", the last ones of numpy's unstable sort, as programs with `argsort(row)[-k:]` keep them.
        seed: Draws those samples, walks and ties.
    """
    checks.at_least("k", k, 1)
    checks.one_of("edge_value", edge_value, ("count", "pathsim", "binary"))
    checks.one_of("ties", ties, ("column", "random", "features", "argsort"))
    if walks is not None and max_hub_degree is not None:
        raise ValueError("walks: expected None beside max_hub_degree; walks pass hubs as they are")
    path = _path(graph, path)
    left, right = halves(graph, path)
    own, mirrored = self_counts(left, right), is_mirrored(left, right)
    if edge_value == "pathsim" and not mirrored:
        raise ValueError("edge_value: 'pathsim' needs a path that is its own mirror image; take 'count'")
    if walks is not None:
        blocks = _walked_blocks(graph, path, block, checks.at_least("walks", walks, 1), seed)
    elif max_hub_degree is not None:
        blocks = _product_blocks(
            left, _cap_rows(right, checks.at_least("max_hub_degree", max_hub_degree, 1), seed), block
        )
    else:
        blocks = _product_blocks(left, (right,), block)
    chooser, pieces = _Chooser(own, mirrored, k, edge_value, ties, _rank_of_ties(graph, ties, seed)), []
    for start, found in blocks:
        counts = [_set_diagonal(each, own, start) for each in found] if walks or max_hub_degree else found
        pieces.append(chooser.best(counts[0], counts[-1], start))
    return sp.vstack(pieces, format="csr")


def gcn_normalise(
    matrix: sp.csr_matrix, *, transpose: bool = True, isolated: Literal["keep", "self_loop"] = "self_loop"
) -> sp.csr_matrix:
    """Entries divided by the root of both nodes' row sums: T_ji / sqrt(r_i r_j), float32.

    Args:
        matrix: Targets x targets, T.
        transpose: Messages into i come from the nodes that list i, as in the authors' program; False takes T_ij.
        isolated: A target with an empty row keeps it, or gets itself as only neighbour.
    """
    checks.one_of("isolated", isolated, ("keep", "self_loop"))
    matrix = sp.csr_matrix(matrix, dtype=np.float64)
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    if isolated == "self_loop":
        lonely = (degree == 0).astype(np.float64)
        matrix, degree = (matrix + sp.diags(lonely)).tocsr(), degree + lonely
    root = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    scaled = (sp.diags(root) @ matrix @ sp.diags(root)).tocsr()
    scaled = scaled.T.tocsr() if transpose else scaled
    scaled.eliminate_zeros()
    scaled.sort_indices()
    return scaled.astype(np.float32)


def coarse_adjacency(matrices: Sequence[sp.csr_matrix]) -> sp.csr_matrix:
    """Mean of the normalized graphs of all meta-paths."""
    if not matrices:
        raise ValueError("matrices: expected the graph of at least one meta-path, got none")
    total = matrices[0]
    for matrix in matrices[1:]:
        total = total + matrix
    return (total * (1 / len(matrices))).tocsr().astype(np.float32)


def to_fixed_width(matrix: sp.csr_matrix, k: int) -> tuple[Tensor, Tensor]:
    """Neighbours as two tensors of `k` columns: numbers (int32, -1 where a row is shorter) and values (float16).

    10^6 targets x 100 neighbours take 0.6 GB. Whole numbers are exact up to 2,048.
    """
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) > k:
        raise ValueError(f"k: a row has {lengths.max()} entries, expected at most {k}")
    if abs(matrix.data).max(initial=0) > np.finfo(np.float16).max:
        raise ValueError(f"matrix: value {abs(matrix.data).max():g} does not fit float16; normalize first")
    filled = np.arange(k)[None, :] < lengths[:, None]
    index = np.full(filled.shape, -1, dtype=np.int32)
    value = np.zeros(filled.shape, dtype=np.float16)
    index[filled], value[filled] = matrix.indices, matrix.data
    return torch.from_numpy(index), torch.from_numpy(value)


def _path(graph: Graph, path: MetaPath | str) -> MetaPath:
    return graph.metapath(path) if isinstance(path, str) else path


def _binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.data[:] = 1
    return matrix


def _row_mean(matrix: sp.csr_matrix) -> sp.csr_matrix:
    lengths = np.diff(matrix.indptr)
    values = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    return sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _bound(left: sp.csr_matrix, right: sp.csr_matrix) -> np.ndarray:
    """At most this many entries in each row of the product."""
    pattern = sp.csr_matrix((np.ones(left.nnz), left.indices, left.indptr), shape=left.shape)
    return np.minimum(pattern @ np.diff(right.indptr), right.shape[1])


@dataclass(frozen=True)
class _Chooser:
    """What is kept of the rows of a product, for all its blocks.

    Attributes:
        own: Count of paths from each target back to itself.
        mirrored: Whether the path is its own mirror image, so that PathSim gives the order; else counts do.
        k: Entries of a row, at most.
        edge_value: What is kept of an entry.
        ties: Which of equal ones are kept, which may need a `rank`.
        rank: Of pairs that tie.
    """

    own: np.ndarray
    mirrored: bool
    k: int
    edge_value: str
    ties: str
    rank: _Rank | None

    def best(self, seen: sp.csr_matrix, counts: sp.csr_matrix, start: int) -> sp.csr_matrix:
        """The rows from `start` on: `seen` gives the order, `counts` of the same pattern what is kept."""
        seen.sort_indices()
        counts.sort_indices()
        columns = counts.indices
        rows = np.repeat(np.arange(start, start + counts.shape[0]), np.diff(counts.indptr))
        scores = 2 * seen.data / (self.own[rows] + self.own[columns]) if self.mirrored else seen.data
        rank = self.rank
        ranks = None if rank is None else lambda places: rank(rows[places], columns[places])
        if self.ties == "argsort":
            ranks = partial(np.take, sorted_ranks(counts, scores, self.k))
        kept = keep_top(counts, np.where(columns == rows, np.inf, scores), self.k, ranks)
        values = {"count": counts.data, "pathsim": scores, "binary": np.ones_like(scores)}[self.edge_value]
        indptr = np.concatenate([[0], np.cumsum(kept)])[counts.indptr]
        return sp.csr_matrix((values[kept].astype(np.float32), columns[kept], indptr), shape=counts.shape)


def _rank_of_ties(graph: Graph, ties: str, seed: int) -> _Rank | None:
    """How pairs that tie are ranked; None where nothing but their scores and columns is needed."""
    store = graph.data[graph.target_type]
    if ties in ("column", "argsort"):
        return None
    if ties == "random" or "x" not in store:
        return partial(_drawn_ranks, seed)
    features = sparse.to_scipy(store.x)
    norms = np.sqrt(np.asarray(features.multiply(features).sum(axis=1), dtype=np.float64)).ravel()
    unit = sp.csr_matrix(sp.diags(1 / np.maximum(norms, 1e-12)) @ features)
    return partial(_unlike_ranks, unit.toarray() if unit.nnz > _DENSE_ABOVE * np.prod(unit.shape) else unit)


def _drawn_ranks(seed: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each pair."""
    return pair_uniforms(seed, 0, torch.from_numpy(rows), torch.from_numpy(columns)).numpy()


def _unlike_ranks(unit: sp.csr_matrix | np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Minus the cosine of each pair; `unit` holds rows of length 1, pairs of one row stand together."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    ends = np.append(starts[1:], len(rows))
    if len(rows) < _SINGLY_BELOW * len(starts) * unit.shape[0]:
        blocks = [slice(start, start + _PAIRS) for start in range(0, len(rows), _PAIRS)]
        return -np.concatenate([_cosines(unit[rows[some]], unit[columns[some]]) for some in blocks])
    ranks = np.empty(len(rows))
    step = max(4 * _BLOCK_ENTRIES // unit.shape[0], 1)
    for first in range(0, len(starts), step):
        some = slice(starts[first], ends[first : first + step][-1])
        product = unit[rows[starts[first : first + step]]] @ unit.T
        cosines = product.round(_DIGITS) if isinstance(product, np.ndarray) else product.toarray()
        place = np.repeat(np.arange(len(cosines)), (ends - starts)[first : first + step])
        ranks[some] = -cosines[place, columns[some]]
    return ranks


def _cosines(one: sp.csr_matrix | np.ndarray, other: sp.csr_matrix | np.ndarray) -> np.ndarray:
    """Of rows of length 1, pair by pair."""
    if isinstance(one, np.ndarray):
        return np.einsum("nd,nd->n", one, other).round(_DIGITS)
    return np.asarray(one.multiply(other).sum(axis=1)).ravel()


def _product_blocks(
    left: sp.csr_matrix, rights: Sequence[sp.csr_matrix], block: int | None
) -> Iterator[tuple[int, list[sp.csr_matrix]]]:
    """Blocks of rows of the products with factors of one pattern, each with its first row."""
    if block is None:
        ends = _ends_by_memory(left, rights[0])
    else:
        ends = [*range(checks.at_least("block", block, 1), left.shape[0], block), left.shape[0]]
    for start, stop in pairwise([0, *ends]):
        yield start, [(left[start:stop] @ right).tocsr() for right in rights]


def _walked_blocks(
    graph: Graph, path: MetaPath, block: int | None, walks: int, seed: int
) -> Iterator[tuple[int, list[sp.csr_matrix]]]:
    """Blocks of rows estimated by walks, each with its first row."""
    steps = [incidence(graph, edge_type) for edge_type in path.edge_types]
    size = max(_BLOCK_ENTRIES // walks, 1) if block is None else checks.at_least("block", block, 1)
    for start in range(0, graph.num_targets, size):
        yield start, [walk_counts(steps, np.arange(start, min(start + size, graph.num_targets)), walks, seed)]


def _ends_by_memory(left: sp.csr_matrix, right: sp.csr_matrix) -> list[int]:
    """Where blocks of rows of the product end that fit the memory of one block."""
    filled = np.concatenate([[0], np.cumsum(_bound(left, right))])
    ends = [0]
    while ends[-1] < left.shape[0]:
        stop = int(np.searchsorted(filled, filled[ends[-1]] + _BLOCK_ENTRIES, side="right")) - 1
        ends.append(min(max(stop, ends[-1] + 1), left.shape[0]))
    return ends[1:]


def _cap_rows(matrix: sp.csr_matrix, most: int, seed: int) -> tuple[sp.csr_matrix, ...]:
    """At most `most` entries a row, drawn evenly: as they are, and scaled so that sums stay right on average.

    The matrix alone where no row has more.
    """
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= most:
        return (matrix,)
    keys = np.random.default_rng(seed).random(matrix.nnz)
    kept = keep_top(matrix, keys, most)
    factor = np.repeat(np.maximum(lengths / most, 1.0), lengths)
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    values = (matrix.data[kept], (matrix.data * factor)[kept])
    seen, scaled = (sp.csr_matrix((x, matrix.indices[kept], indptr), shape=matrix.shape) for x in values)
    return seen, scaled


def _set_diagonal(block: sp.csr_matrix, own: np.ndarray, start: int) -> sp.csr_matrix:
    """The block of rows from `start` on with the exact counts from each target to itself."""
    size = block.shape[0]
    change = own[start : start + size] - block.diagonal(k=start)
    places = (np.arange(size), np.arange(start, start + size))
    block = (block + sp.csr_matrix((change, places), shape=block.shape)).tocsr()
    block.eliminate_zeros()
    return block
