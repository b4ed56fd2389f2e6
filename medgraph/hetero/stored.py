"""StoredViews: a graph as rows that are read a few at a time, for training in batches and for embedding every node."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from medgraph.hetero.batch import ROUNDS_OF_A_MEMBER
from medgraph.hetero.row_store import RowStore
from medgraph.transforms.draws import pair_uniforms

StoredFeatures = RowStore | Tensor | None  # None is one-hot

_BLOCK_ENTRIES = 2**22  # entries worked on at once
_FEATURE_STREAM = 1000  # keeps masks of features apart from those of edges, which take the number of their path


@dataclass(frozen=True, eq=False)
class EdgeMasks:
    """The masked copy of one path's graph: each off-diagonal edge stays by a draw of its own, with value 1.

    Attributes:
        fraction: Probability that an edge is left out.
        seed, number, stream: What draws; `number` is the round, `stream` the path.
        transpose: Whether an entry (i, j) stands for the edge that j lists.
        root: Inverse root of the degree that each node has in the masked copy (n,).
    """

    fraction: float
    seed: int
    number: int
    stream: int
    transpose: bool
    root: Tensor

    @classmethod
    def draw(
        cls, edges: RowStore, fraction: float, seed: int, number: int, stream: int, transpose: bool
    ) -> "EdgeMasks":
        """Go once over all edges for the degrees."""
        n = len(edges)
        masks = cls(fraction, seed, number, stream, transpose, torch.ones(n))
        degree = torch.zeros(n)
        for start, stop in blocks(edges):
            starts, columns, _ = edges.block(start, stop)
            rows = torch.repeat_interleave(torch.arange(start, stop), starts.diff())
            stays = masks.stays(rows, columns.long()).float()
            degree.index_add_(0, columns.long() if transpose else rows, stays)
        return cls(fraction, seed, number, stream, transpose, degree.rsqrt())  # each node joins itself: at least 1

    def stays(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Whether each entry is in the masked copy (e,)."""
        first, second = (columns, rows) if self.transpose else (rows, columns)
        drawn = pair_uniforms(self.seed, self.number, first, second, self.stream)
        return (drawn >= self.fraction) | (rows == columns)

    def values(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Normalized value of each entry (e,), 0 for those left out."""
        return self.stays(rows, columns) * self.root[rows] * self.root[columns]


@dataclass(frozen=True, eq=False)
class StoredPath:
    """One meta-path.

    Attributes:
        name: Its name.
        edges: Rows of the normalized graph, the diagonal always among the entries, with value 0 where it has no edge.
        edge_mask: Probability that an edge is left out of the masked copy; None without one.
        context: Node type, and factors to apply right to left (targets x ... x nodes of that type), of each
            intermediate position.
    """

    name: str
    edges: RowStore
    edge_mask: float | None = None
    context: tuple[tuple[str, tuple[RowStore, ...]], ...] = ()


@dataclass(frozen=True, eq=False)
class StoredViews:
    """The views of one graph, in memory linear in its nodes and in the neighbours kept.

    Attributes:
        target_type: Node type that is embedded.
        num_targets: Number of targets.
        features: By node type; None where a type has none and is one-hot.
        paths: One entry per meta-path.
        feature_mask: Probability that a feature entry of the target is left out of the masked copies.
        transpose: Whether an entry (i, j) of a path's graph stands for the edge that j lists.
        seed: Draws the masks.
        resample_masks_every: Epochs after which masks are drawn anew; 0 draws once.
        fan_out: Neighbours taken of each node, of the last and of the first layer; None takes all.
        context_fan_out: Intermediate nodes taken of each target and position; None takes all.
        first_round: Number of the first draw of the masks.
    """

    target_type: str
    num_targets: int
    features: dict[str, StoredFeatures]
    paths: tuple[StoredPath, ...]
    feature_mask: float
    transpose: bool
    seed: int
    resample_masks_every: int
    fan_out: tuple[int, int] | None
    context_fan_out: int | None
    first_round: int = 0
    _kept: dict[int, tuple[EdgeMasks, ...]] = field(default_factory=dict, repr=False)
    _members: dict[int, "StoredViews"] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.num_targets

    def to(self, device: torch.device | str) -> "StoredViews":
        """Itself: the graph stays in host memory, and blocks of it move."""
        return self

    @property
    def num_copies(self) -> int:
        """Views of each path: 2 with masked copies."""
        return 1 if self.paths[0].edge_mask is None else 2

    @property
    def num_bytes(self) -> int:
        """Memory of the rows of graphs and contexts."""
        parts = [path.edges for path in self.paths]
        parts += [factor for path in self.paths for _, factors in path.context for factor in factors]
        return sum(part.num_bytes for part in parts)

    def round_of(self, epoch: int) -> int:
        """Number of the draw of the masks that an epoch takes."""
        return self.first_round + (epoch // self.resample_masks_every if self.resample_masks_every else 0)

    def of_member(self, member: int) -> "StoredViews":
        """The views as member 0, 1, ... of several networks sees them: with masks of its own, those of 0 are these."""
        if member == 0 or self.num_copies == 1:
            return self
        if member not in self._members:
            number = self.first_round + member * ROUNDS_OF_A_MEMBER
            self._members[member] = replace(self, first_round=number, _kept={}, _members={})
        return self._members[member]

    def masks(self, number: int) -> tuple[EdgeMasks, ...]:
        """The masked copies of a round, one for each path; those of the last round asked for are kept."""
        if number not in self._kept:
            self._kept.clear()
            self._kept[number] = tuple(
                EdgeMasks.draw(path.edges, path.edge_mask, self.seed, number, index, self.transpose)
                for index, path in enumerate(self.paths)
                if path.edge_mask is not None
            )
        return self._kept[number]

    def feature_stays(self, number: int, rows: Tensor, columns: Tensor) -> Tensor:
        """Whether each of the target's feature entries is in the masked copies of a round (e,)."""
        return pair_uniforms(self.seed, number, rows, columns, _FEATURE_STREAM) >= self.feature_mask


def blocks(edges: RowStore, most: int = _BLOCK_ENTRIES) -> Iterator[tuple[int, int]]:
    """Ranges of rows that hold about `most` entries each, and at most as many rows."""
    start, n = 0, len(edges)
    while start < n:
        stop = int(torch.searchsorted(edges.starts, edges.starts[start] + most, right=True)) - 1
        stop = min(max(stop, start + 1), start + most, n)
        yield start, stop
        start = stop


def store_edges(neighbours: sp.csr_matrix, transpose: bool, isolated: str) -> RowStore:
    """Neighbours normalized as `gcn_normalise` does, as rows, and a diagonal of zeros where there was none.

    Args:
        neighbours: Targets x targets, values above 0.
        transpose: Messages into i come from the nodes that list i.
        isolated: A target with an empty row keeps it ("keep"), or gets itself as only neighbour ("self_loop").
    """
    n = neighbours.shape[0]
    degree = np.asarray(neighbours.sum(axis=1, dtype=np.float64)).ravel()
    alone = degree == 0
    root = np.divide(1.0, np.sqrt(degree), out=np.full(n, float(isolated == "self_loop")), where=~alone)
    root = root.astype(np.float32)
    added = neighbours.diagonal() == 0
    matrix = neighbours.astype(np.float32)
    if added.any():
        matrix = sp.csr_matrix(matrix + sp.diags(added.astype(np.float32)))
    matrix.sort_indices()
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(matrix.indptr))
    matrix.data *= root[rows]
    matrix.data *= root[matrix.indices]
    loops = np.flatnonzero((rows == matrix.indices) & added[rows])
    matrix.data[loops] *= alone[rows[loops]]  # 1 there for isolated ones, if they get a loop
    return RowStore.of(matrix.T.tocsr() if transpose else matrix)
