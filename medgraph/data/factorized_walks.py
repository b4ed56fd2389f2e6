"""FactorizedWalks: the vectors that skip-gram on endless random walks would end with, by a matrix factorization."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.graphs import Graph
from medgraph.data.incidence import incidence
from medgraph.data.metapath import MetaPath
from medgraph.data.some_contexts import factorized, log_ratio, vectors_from_some
from medgraph.data.walk_vectors import WalkVectors

_VERSION = 1  # raise it when something else is computed: old features are then not found
_DENSE_ABOVE = 0.03  # share of entries from which dense products are faster (our measurement)
_ROWS = 2000  # of other node types at once
_MAX_NODES = 30_000  # of the first type: two to four dense matrices of 3.6 GB
_ENTRIES = 4 * 10**8  # of each of two matrices, of 1.6 GB, where there are more


class FactorizedWalks(WalkVectors):
    """Another source's graph, its node types without features filled by factorized co-occurrences of walks [1, 2].

    A walk follows a meta-path from its first node type back to it, again and again. With S its transition from round to
    round, Q_v that from a node type v on the path to the first type ahead (Q = S for the first type itself), and
    K = (1 + S + ... + S^(c-1)) / c the visits of c rounds, the rows of v are

        M_v = log max(Q_v K / p, 1),    p = column means of S K,    M_first = U s V^T,    vectors_v = M_v V s^(a - 1).

    M is what skip-gram with one negative example per positive converges to on endless walks, cut off at 0 [1], taken
    here along a meta-path; for the first type the vectors are U s^a. A type that a path visits several times takes the
    mean. Seconds to a minute on a graph of 50,000 nodes; needs 8 n^2 bytes for n nodes of the first type,
    and 16 n^2 where a path joins more than 3 % of all pairs. Of more than 30,000 nodes only some are taken as contexts,
    drawn at random, as many as keep the columns of M that belong to them within 1.6 GB; these stand for all.

    [1] Qiu et al., Network embedding as matrix factorization, WSDM 2018, arXiv:1710.02971, Eq. 4 and Algorithm 3.
    [2] Levy and Goldberg, Neural word embedding as implicit matrix factorization, NeurIPS 2014.
    [3] Levy, Goldberg and Dagan, Improving distributional similarity, TACL 2015, Sec. 3.3.

    Args:
        source: The graph.
        walks: Meta-paths by node type, each from its first type back to it: `{paper: [pap, prp], author: [apa]}`. None
            gives every type without features all meta-paths of the graph that pass it; one that none passes stays.
        dim: Width of the vectors of one meta-path.
        rounds: Rounds along the meta-path that count as near, c above.
        power: How much stronger directions weigh, a above [3]: 0.5 shares them between nodes and their contexts, as
            skip-gram does; 1 gives M's own distances between nodes of the first type.
        normalize: Divide each row by its sum of absolute values.
        per_path: Give each meta-path of the target the vectors of its own walks alone, as MEOW's authors do, instead of
            all of them to all paths; needs a target without features, or in `replace`.
        replace: Node types whose own features give way to the vectors.
        walk_seed: Of the randomized decomposition; independent of the seed of a run.
    """

    def __init__(
        self,
        source: Any,
        walks: dict[str, list[str]] | None = None,
        dim: int = 64,
        rounds: int = 50,
        power: float = 0.5,
        normalize: bool = True,
        per_path: bool = False,
        replace: tuple[str, ...] = (),
        walk_seed: int = 0,
    ):
        super().__init__(source, walks, dim, normalize, per_path, replace, walk_seed)
        self.rounds = checks.at_least("rounds", rounds, 1)
        self.power = checks.between("power", power, 0.0, 1.0)

    def settings(self) -> list[Any]:
        """See `WalkVectors`."""
        return ["factorized", _VERSION, self.dim, self.rounds, self.power]

    def train(self, graph: Graph, path: MetaPath, counts: dict[str, int]) -> dict[str, np.ndarray]:
        """See `WalkVectors`."""
        first = path.node_types[0]
        if counts[first] > _MAX_NODES:
            return self._joined(self._from_some(graph, path, counts[first]))
        ahead = _transitions(graph, path)
        visits = _visits(ahead[0], self.rounds)
        together = _product(ahead[0], visits)
        noise = together.mean(axis=0)
        u, s, basis = factorized(log_ratio(together, noise), self.dim, self.power, self.walk_seed)
        found: dict[str, list[np.ndarray]] = {first: [u * s**self.power]}
        for name, onward in zip(path.node_types[1:-1], ahead[1:], strict=True):
            if name == first:
                continue
            blocks = [onward[start : start + _ROWS] for start in range(0, counts[name], _ROWS)]
            rows = [log_ratio(_product(block, visits), noise) @ basis for block in blocks]
            found.setdefault(name, []).append(np.concatenate(rows))
        return self._joined(found)

    def _from_some(self, graph: Graph, path: MetaPath, num_nodes: int) -> dict[str, list[np.ndarray]]:
        """See `vectors_from_some`."""
        count = min(num_nodes, max(2 * self.dim, _ENTRIES // num_nodes))
        contexts = np.sort(np.random.default_rng(self.walk_seed).choice(num_nodes, count, replace=False))
        steps = [sparse.normalize_rows(incidence(graph, edge_type)) for edge_type in path.edge_types]
        return vectors_from_some(steps, path.node_types, contexts, self.rounds, self.dim, self.power, self.walk_seed)

    def _joined(self, found: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
        """The mean over the places that each node type has on a path."""
        return {name: self._padded(np.mean(several, axis=0)) for name, several in found.items()}

    def _padded(self, vectors: np.ndarray) -> np.ndarray:
        """With zeros where there are fewer nodes than `dim`."""
        return np.pad(vectors, ((0, 0), (0, self.dim - vectors.shape[1]))).astype(np.float32)


def _transitions(graph: Graph, path: MetaPath) -> list[sp.csr_matrix]:
    """From each position of a path but the last, the chances of the nodes that a walk meets at its end."""
    onward: list[sp.csr_matrix] = []
    for edge_type in reversed(path.edge_types):
        step = sparse.normalize_rows(incidence(graph, edge_type))
        onward.append(step @ onward[-1] if onward else step)
    return onward[::-1]


def _visits(once: sp.csr_matrix, rounds: int) -> np.ndarray:
    """(1 + S + ... + S^(rounds - 1)) / rounds, dense."""
    visits = np.eye(once.shape[0], dtype=np.float32)
    if _is_dense(once):
        return _visits_by_doubling(once.toarray(), rounds) / rounds
    for _ in range(rounds - 1):
        visits = once @ visits
        visits[np.diag_indices_from(visits)] += 1
    visits /= rounds
    return visits


def _visits_by_doubling(once: np.ndarray, rounds: int) -> np.ndarray:
    """1 + S + ... + S^(rounds - 1), from half as many terms: T_2m = T_m + S^m T_m, in 2 log2(rounds) products."""
    power: np.ndarray = once  # S^m and T_m for m = 1
    total: np.ndarray = np.eye(len(once), dtype=np.float32)
    for bit in bin(rounds)[3:]:
        total += power @ total
        power = power @ power
        if bit == "1":
            total += power
            power = power @ once
    return total


def _product(left: sp.csr_matrix, right: np.ndarray) -> np.ndarray:
    """left @ right, by dense matrices where that is faster."""
    return (left.toarray() if _is_dense(left) else left) @ right


def _is_dense(matrix: sp.csr_matrix) -> bool:
    return bool(matrix.nnz > _DENSE_ABOVE * matrix.shape[0] * matrix.shape[1])
