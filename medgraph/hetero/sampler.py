"""Samples of a stored graph around a batch of targets: few neighbours of each node, weighed up to the whole sum.

All draws depend on (seed, epoch, node) only, whatever else is in the batch. Every entry taken is divided by the
probability of taking it, so that each layer's sum is right on average; degrees are those of the whole graph.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy.sparse as sp
import torch
from torch import Tensor

from medgraph.hetero.operators import Chain, Operator, SparseOperator
from medgraph.hetero.row_store import Entries, RowStore
from medgraph.hetero.stored import EdgeMasks, StoredFeatures, StoredViews
from medgraph.transforms.draws import uniforms

_COARSE, _CONTEXT = 2000, 4000  # first streams of the draws that are not those of a path's own layers


class Selection:
    """One-hot features of some nodes: picks their rows of the weights.

    Args:
        rows: Numbers of the nodes.
        stays: 0 for a node whose one feature is masked, else 1 (n,); None masks nothing.
    """

    def __init__(self, rows: Tensor, stays: Tensor | None = None):
        self.rows, self.stays = rows, stays

    def __call__(self, weight: Tensor) -> Tensor:
        """(nodes, d) -> (n, d)."""
        picked = weight.index_select(0, self.rows)  # its gradient is faster than that of weight[rows]
        return picked if self.stays is None else picked * self.stays[:, None]

    def to(self, device: torch.device | str) -> "Selection":
        """The same on another device."""
        return Selection(self.rows.to(device), None if self.stays is None else self.stays.to(device))


SampledFeatures = Selection | SparseOperator | Tensor


@dataclass(frozen=True)
class SampledPath:
    """The nodes around a batch along one meta-path, or in the mean of all.

    Attributes:
        name: Name of the path; empty for the mean.
        inputs: Rows of the projected target features that the first layer starts from (s,).
        first: Graph of the first layer (r, s).
        last: Graph of the last layer (b, r).
        masked: Both graphs with edges masked; None without.
        context: Node type and operator (s, nodes of the type in the sample) of each intermediate position.
    """

    name: str
    inputs: Tensor
    first: SparseOperator
    last: SparseOperator
    masked: tuple[SparseOperator, SparseOperator] | None = None
    context: tuple[tuple[str, Operator], ...] = ()

    def to(self, device: torch.device | str) -> "SampledPath":
        """The same on another device."""
        masked = None if self.masked is None else (self.masked[0].to(device), self.masked[1].to(device))
        context = tuple((node_type, operator.to(device)) for node_type, operator in self.context)
        return SampledPath(
            self.name, self.inputs.to(device), self.first.to(device), self.last.to(device), masked, context
        )


@dataclass(frozen=True)
class SampledViews:
    """What one step needs.

    Attributes:
        ids: Numbers of the targets of the batch (b,).
        features: By node type, of the nodes in the sample.
        masked_features: The target's with entries masked; None without masked copies.
        paths: One entry per meta-path.
        coarse: The same for the mean of all meta-path graphs.
    """

    ids: Tensor
    features: dict[str, SampledFeatures]
    masked_features: SampledFeatures | None
    paths: tuple[SampledPath, ...]
    coarse: SampledPath

    def to(self, device: torch.device | str) -> "SampledViews":
        """The same on another device."""
        return SampledViews(
            self.ids.to(device),
            {name: value.to(device) for name, value in self.features.items()},
            None if self.masked_features is None else self.masked_features.to(device),
            tuple(path.to(device) for path in self.paths),
            self.coarse.to(device),
        )


def sample_views(stored: StoredViews, ids: Tensor, seed: int, epoch: int) -> SampledViews:
    """Draw what the encoder needs for the targets `ids`, by (seed, epoch)."""
    number = stored.round_of(epoch)
    masks = stored.masks(number)
    last, first = stored.fan_out if stored.fan_out is not None else (None, None)
    layers = []
    for index, path in enumerate(stored.paths):
        mask = masks[index] if masks else None
        layers.append(_two_layers([path.edges], [mask], ids, (last, first), (seed, epoch), 2 * index))
    few = [None if most is None else math.ceil(most / len(stored.paths)) for most in (last, first)]
    every = [path.edges for path in stored.paths]
    coarse = _two_layers(every, [None] * len(every), ids, (few[0], few[1]), (seed, epoch), _COARSE)
    nodes: dict[str, list[Tensor]] = {stored.target_type: [part.sources for part in (*layers, coarse)]}
    contexts = []
    for index, (path, part) in enumerate(zip(stored.paths, layers, strict=True)):
        drawn = []
        for position, (node_type, factors) in enumerate(path.context):
            stream = _CONTEXT + 100 * index + 2 * position
            drawn.append(_Context.draw(factors, part.sources, stored.context_fan_out, (seed, epoch), stream))
            nodes.setdefault(node_type, []).append(drawn[-1].columns)
        contexts.append(drawn)
    found = {name: _Numbering.of(parts, _num_nodes(stored, name)) for name, parts in nodes.items()}
    targets = found[stored.target_type]
    paths = []
    for path, part, drawn in zip(stored.paths, layers, contexts, strict=True):
        context = tuple((name, each.operator(found[name])) for (name, _), each in zip(path.context, drawn, strict=True))
        paths.append(part.finish(path.name, targets, context))
    features = {name: take_features(stored.features[name], numbering.nodes) for name, numbering in found.items()}
    masked = _masked_features(stored, number, targets.nodes) if masks else None
    return SampledViews(ids, features, masked, tuple(paths), coarse.finish("", targets, ()))


@dataclass(frozen=True)
class _Numbering:
    """The nodes of one type in the sample, and the place of each among them."""

    nodes: Tensor
    places: Tensor  # (all nodes of the type,), meaningless where a node is not in the sample

    @classmethod
    def of(cls, parts: Sequence[Tensor], num_nodes: int) -> "_Numbering":
        seen = torch.zeros(num_nodes, dtype=torch.bool)
        for part in parts:
            seen[part] = True
        nodes = seen.nonzero().squeeze(1)
        places = torch.empty(num_nodes, dtype=torch.long)
        places[nodes] = torch.arange(len(nodes))
        return cls(nodes, places)


@dataclass(frozen=True)
class _Layers:
    """Both layers of one path, or of the mean of several, in numbers of the whole graph where not yet finished."""

    sources: Tensor  # targets that the first layer starts from
    first: SparseOperator
    last: SparseOperator
    masked: tuple[SparseOperator, SparseOperator] | None

    def finish(self, name: str, targets: _Numbering, context: tuple[tuple[str, Operator], ...]) -> SampledPath:
        return SampledPath(name, targets.places[self.sources], self.first, self.last, self.masked, context)


def _two_layers(
    graphs: Sequence[RowStore],
    masks: Sequence[EdgeMasks | None],
    ids: Tensor,
    fan_out: tuple[int | None, int | None],
    draws: tuple[int, int],
    stream: int,
) -> _Layers:
    """The last layer from `ids` inward, then the first; of the mean of `graphs`."""
    middle, last, masked_last = _layer(graphs, masks, ids, fan_out[0], draws, stream)
    sources, first, masked_first = _layer(graphs, masks, middle, fan_out[1], draws, stream + 1)
    masked = (masked_first, masked_last) if masked_first is not None and masked_last is not None else None
    return _Layers(sources, first, last, masked)


def _layer(
    graphs: Sequence[RowStore],
    masks: Sequence[EdgeMasks | None],
    rows: Tensor,
    most: int | None,
    draws: tuple[int, int],
    stream: int,
) -> tuple[Tensor, SparseOperator, SparseOperator | None]:
    """Neighbours of `rows`, and the operators that sum over them: plain, and with edges masked."""
    taken = []
    for index, graph in enumerate(graphs):
        taken.append(graph.take(rows, most, _uniform(draws, rows, stream + 2 * index)))
    numbering = _Numbering.of([part.columns for part in taken], graphs[0].num_columns)
    shape = len(rows), len(numbering.nodes)
    owners = torch.cat([part.owners for part in taken])
    columns = numbering.places[torch.cat([part.columns for part in taken])]
    values = torch.cat([part.values * part.scale for part in taken]) / len(graphs)
    masked = None
    if masks[0] is not None:
        part = taken[0]
        masked = _operator(owners, columns, masks[0].values(rows[part.owners], part.columns) * part.scale, shape)
    return numbering.nodes, _operator(owners, columns, values, shape), masked


@dataclass(frozen=True)
class _Context:
    """Intermediate nodes of one position: what is taken of each factor, targets first."""

    num_targets: int
    taken: tuple[Entries, ...]
    inner: tuple[_Numbering, ...]  # nodes between the factors

    @classmethod
    def draw(
        cls, factors: Sequence[RowStore], targets: Tensor, most: int | None, draws: tuple[int, int], stream: int
    ) -> "_Context":
        """Of one factor `most` of each row, of two about the root of it each, so that no more are reached."""
        wide = most if most is None or len(factors) == 1 else math.isqrt(most)
        taken, inner, rows = [], [], targets
        for index, factor in enumerate(factors):
            taken.append(factor.take(rows, wide, _uniform(draws, rows, stream + index)))
            if index < len(factors) - 1:
                inner.append(_Numbering.of([taken[-1].columns], factor.num_columns))
                rows = inner[-1].nodes
        return cls(len(targets), tuple(taken), tuple(inner))

    @property
    def columns(self) -> Tensor:
        """Nodes reached, in numbers of the whole graph."""
        return self.taken[-1].columns

    def operator(self, ends: _Numbering) -> Operator:
        """The mean over the nodes taken, from the nodes of the type in the sample."""
        operators, height = [], self.num_targets
        for part, numbering in zip(self.taken, (*self.inner, ends), strict=True):
            shape = height, len(numbering.nodes)
            operators.append(_operator(part.owners, numbering.places[part.columns], part.values * part.scale, shape))
            height = shape[1]
        return operators[0] if len(operators) == 1 else Chain(operators)


def _uniform(draws: tuple[int, int], rows: Tensor, stream: int) -> Tensor:
    return uniforms(*draws, rows, 1, stream)[:, 0]


def _operator(owners: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> SparseOperator:
    parts = values.numpy(), (owners.numpy(), columns.numpy())
    return SparseOperator(sp.coo_matrix(parts, shape=shape))


def _num_nodes(stored: StoredViews, name: str) -> int:
    if name == stored.target_type:
        return stored.num_targets
    factors = [chain for path in stored.paths for node_type, chain in path.context if node_type == name]
    return factors[0][-1].num_columns


def take_features(features: StoredFeatures, nodes: Tensor) -> SampledFeatures:
    """Features of some nodes."""
    if features is None:
        return Selection(nodes)
    if isinstance(features, Tensor):
        return features[nodes]
    taken = features.take(nodes)
    return _operator(taken.owners, taken.columns, taken.values, (len(nodes), features.num_columns))


def _masked_features(stored: StoredViews, number: int, nodes: Tensor) -> SampledFeatures:
    features = stored.features[stored.target_type]
    if features is None:
        return Selection(nodes, stored.feature_stays(number, nodes, nodes).float())
    if isinstance(features, Tensor):
        width = features.shape[1]
        rows, columns = nodes.repeat_interleave(width), torch.arange(width).repeat(len(nodes))
        return features[nodes] * stored.feature_stays(number, rows, columns).view(-1, width)
    taken = features.take(nodes)
    values = taken.values * stored.feature_stays(number, nodes[taken.owners], taken.columns)
    return _operator(taken.owners, taken.columns, values, (len(nodes), features.num_columns))
