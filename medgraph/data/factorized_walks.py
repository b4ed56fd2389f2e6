"""FactorizedWalks: the vectors that skip-gram on endless random walks would end with, by a matrix factorization."""

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.graphs import Graph
from medgraph.data.incidence import incidence
from medgraph.data.metapath import MetaPath
from medgraph.data.walk_vectors import WalkVectors
from medgraph.errors import ConfigError

_VERSION = 1  # raise it when something else is computed: old features are then not found
_DENSE_ABOVE = 0.03  # share of entries from which dense products are faster (our measurement)
_ROWS = 2000  # of other node types at once
MAX_NODES = 30_000  # of the first type: two to four dense matrices of 3.6 GB


class FactorizedWalks(WalkVectors):
    """Another source's graph, its node types without features filled by factorized co-occurrences of walks [1, 2].

    A walk follows a meta-path from its first node type back to it, again and again. With S its transition from round to
    round, Q_v that from a node type v on the path to the first type ahead (Q = S for the first type itself), and
    K = (1 + S + ... + S^(c-1)) / c the visits of c rounds, the rows of v are

        M_v = log max(Q_v K / p, 1),    p = column means of S K,    M_first = U s V^T,    vectors_v = M_v V s^(a - 1).

    M is what skip-gram with one negative example per positive converges to on endless walks, cut off at 0 [1], taken
    here along a meta-path; for the first type the vectors are U s^a. A type that a path visits several times takes the
    mean. Seconds to a minute on a graph of 50,000 nodes; needs 8 n^2 bytes for n nodes of the first type,
    and 16 n^2 where a path joins more than 3 % of all pairs.

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

    @cached_property
    def plan(self) -> dict[str, tuple[MetaPath, ...]]:
        """The meta-paths that give each node type its features.

        Raises:
            ConfigError: See `WalkVectors.plan`, or the first type of a path has more nodes than `MAX_NODES`.
        """
        plan = super().plan
        for path in {path.name: path for paths in plan.values() for path in paths}.values():
            count = self.structure.spec.node_counts[path.node_types[0]]
            if count > MAX_NODES:
                raise ConfigError(
                    f"walks: meta-path {path.name!r} starts from {count:,} nodes of type {path.node_types[0]}; "
                    f"factorized_walks holds a dense matrix of them and takes at most {MAX_NODES:,}. "
                    "Wrap the graph in walk_features instead: source: {name: walk_features, source: {...}}."
                )
        return plan

    def settings(self) -> list[Any]:
        """See `WalkVectors`."""
        return ["factorized", _VERSION, self.dim, self.rounds, self.power]

    def train(self, graph: Graph, path: MetaPath, counts: dict[str, int]) -> dict[str, np.ndarray]:
        """See `WalkVectors`."""
        first = path.node_types[0]
        ahead = _transitions(graph, path)
        visits = _visits(ahead[0], self.rounds)
        together = _product(ahead[0], visits)
        noise = together.mean(axis=0)
        u, s, vt = randomized_svd(_log_ratio(together, noise), min(self.dim, len(noise)), random_state=self.walk_seed)
        rank = int(np.sum(s > s[0] * len(noise) * np.finfo(np.float32).eps))  # what lies below is rounding alone
        basis = vt[:rank].T * s[:rank] ** (self.power - 1)
        found: dict[str, list[np.ndarray]] = {first: [u[:, :rank] * s[:rank] ** self.power]}
        for name, onward in zip(path.node_types[1:-1], ahead[1:], strict=True):
            if name == first:
                continue
            blocks = [onward[start : start + _ROWS] for start in range(0, counts[name], _ROWS)]
            rows = [_log_ratio(_product(block, visits), noise) @ basis for block in blocks]
            found.setdefault(name, []).append(np.concatenate(rows))
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


def _log_ratio(chances: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """log max(chances / noise, 1), in place; 0 for what no walk from the first type meets."""
    np.divide(chances, noise, out=chances, where=noise > 0)
    return np.log(np.maximum(chances, 1, out=chances), out=chances)
