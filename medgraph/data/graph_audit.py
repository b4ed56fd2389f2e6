"""What a graph holds and what training on it will need, told before anything large is built."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from medgraph.data.graphs import Graph, reaches_back
from medgraph.data.incidence import halves, self_counts
from medgraph.data.metapath import MetaPath, told_apart
from medgraph.data.spec import GraphSpec
from medgraph.errors import ConfigError

_EXACT_INSTANCES = 20_000_000  # a meta-path graph with more path instances is bounded, not counted
_NEIGHBOURS = 100  # of the forecast
_DIM = 64  # of the forecast
_MINI_BATCH_TARGETS = 200_000  # above, a full-batch epoch is out of proportion


def graph_lines(
    graph: Graph,
    spec: GraphSpec | None = None,
    metapaths: Sequence[str] | None = None,
    top_k: Sequence[int] = (_NEIGHBOURS,),
) -> list[str]:
    """The audit as lines of text: types, edges, labels, splits, meta-paths, memory.

    Args:
        graph: The graph, perhaps still without features that take long to compute.
        spec: Its facts once they are there; None: those of `graph`.
        metapaths: Those that training takes; None: all of `graph`.
        top_k: Neighbours that it keeps along each of them, or one number for all.

    Raises:
        ConfigError: A meta-path does not fit the graph, or there is not one number for each.
    """
    spec = spec or graph.spec
    paths = told_apart(graph.metapath(name) for name in (graph.metapaths if metapaths is None else metapaths))
    if len(top_k) not in (1, len(paths)):
        raise ConfigError(f"top_k: expected one number, or {len(paths)}, one for each meta-path; got {len(top_k)}.")
    return [
        *_type_lines(spec),
        *_edge_lines(graph),
        *_label_lines(graph),
        *_split_lines(graph),
        *_metapath_lines(graph, paths),
        *_forecast_lines(graph, spec, paths, top_k),
        *(f"note: {note}" for note in graph.notes),
    ]


def _type_lines(spec: GraphSpec) -> list[str]:
    lines = []
    for name, count in spec.node_counts.items():
        width = spec.feature_dims[name]
        mark = "  (target)" if name == spec.target_type else ""
        lines.append(f"nodes  {name:16} {count:>11,}  features: {f'{width:,}' if width else 'none, one-hot'}{mark}")
    return lines


def _edge_lines(graph: Graph) -> list[str]:
    lines = []
    for edge_type in graph.data.edge_types:
        source = edge_type[0]
        index = graph.data[edge_type].edge_index
        degree = np.bincount(index[0].numpy(), minlength=int(graph.data[source].num_nodes))
        lines.append(
            f"edges  {' '.join(edge_type):32} {index.shape[1]:>11,}  per {source}: "
            f"{degree.min()} to {degree.max()}, mean {degree.mean():.1f}, none for {int((degree == 0).sum()):,}"
        )
    return lines


def _label_lines(graph: Graph) -> list[str]:
    if graph.labels is None:
        return ["labels none"]
    if not graph.classes:
        return [f"labels none: no target has a label, of {graph.num_targets:,}"]
    known = graph.labels[graph.labels >= 0]
    counts = known.bincount(minlength=len(graph.classes)).tolist()
    shares = ", ".join(
        f"{name} {count:,} ({count / max(len(known), 1):.0%})"
        for name, count in zip(graph.classes, counts, strict=True)
    )
    return [f"labels {shares}; without label {graph.num_targets - len(known):,}"]


def _split_lines(graph: Graph) -> list[str]:
    lines = []
    for name, parts in graph.splits.items():
        told = []
        for part, index in parts.items():
            balance = ""
            if graph.labels is not None:
                balance = (
                    f" ({'/'.join(map(str, graph.labels[index].bincount(minlength=len(graph.classes)).tolist()))})"
                )
            told.append(f"{part} {len(index):,}{balance}")
        if told:
            lines.append(f"split  {name}: {', '.join(told)}; no node in two parts")
        else:
            lines.append(f"split  {name}: empty, no target lies in any part")
    for first, second in combinations(graph.splits, 2):
        for one, other in ((first, second), (second, first)):
            train, test = graph.splits[one].get("train"), graph.splits[other].get("test")
            both = 0 if train is None or test is None else len(np.intersect1d(train.numpy(), test.numpy()))
            if both:
                lines.append(
                    f"leak   {both} training nodes of split {one} are test nodes of split {other}: never mix them"
                )
    return lines


def _metapath_lines(graph: Graph, paths: Sequence[MetaPath]) -> list[str]:
    lines = []
    for path in paths:
        alone = int((~reaches_back(graph.data, path)).sum())
        left, right = halves(graph, path)
        instances = float(np.asarray(left.sum(axis=0)).ravel() @ np.asarray(right.sum(axis=1)).ravel())
        own = self_counts(left, right)
        if instances <= _EXACT_INSTANCES:
            counts = left @ right
            size = f"{counts.nnz:,} pairs{_agreement(graph, counts)}"
        else:
            size = f"at most {min(instances, float(graph.num_targets) ** 2):,.0f} pairs"
        lines.append(
            f"path   {path.name}: {'-'.join(path.node_types)}, {instances:,.0f} path instances "
            f"({own.sum():,.0f} to itself), {size}, targets without any: {alone:,}"
        )
    return lines


def _agreement(graph: Graph, counts) -> str:  # type: ignore[no-untyped-def]  # scipy has no types
    """How many of the pairs with two labels have the same one, each target's pair with itself left out."""
    if graph.labels is None:
        return ""
    labels = graph.labels.numpy()
    rows = np.repeat(np.arange(len(labels)), np.diff(counts.indptr))
    columns = counts.indices
    chosen = (rows != columns) & (labels[rows] >= 0) & (labels[columns] >= 0)
    if not chosen.any():
        return ""
    return f" ({(labels[rows] == labels[columns])[chosen].mean():.0%} of the same class)"


def _forecast_lines(graph: Graph, spec: GraphSpec, paths: Sequence[MetaPath], top_k: Sequence[int]) -> list[str]:
    """Memory in three sums: what is stored, what the context adds, what a full-batch epoch holds."""
    num_targets = graph.num_targets
    stored = [_stored(graph, spec, name) for name, width in spec.feature_dims.items() if width]
    widths = [min(k, num_targets) for k in top_k]
    told = " and ".join(map(str, widths))
    neighbours = 8 * num_targets * (sum(widths) if len(widths) > 1 else widths[0] * len(paths))
    hidden = 4 * _DIM * sum(graph.spec.node_counts.values())
    # A view keeps about 8 arrays of targets x 64 for its backward pass: two products, two layers, two norms, dropouts.
    views = 8 * 4 * _DIM * num_targets * (2 * len(paths) + 1)
    advice = "" if num_targets <= _MINI_BATCH_TARGETS else "; take mini-batches"
    return [
        f"memory features {_size(sum(stored))}; {told} neighbours of each target on {len(paths)} meta-paths "
        f"{_size(neighbours)} (dense matrices would be {_size(4 * num_targets**2 * len(paths))})",
        f"memory context operators at most {_size(8 * sum(_context_entries(graph, path) for path in paths))}; "
        f"a full-batch epoch of width {_DIM} about {_size(views + hidden)} beside the loss{advice}",
    ]


def _stored(graph: Graph, spec: GraphSpec, name: str) -> int:
    """Bytes of a type's features; those that are still to be computed are dense."""
    if "x" not in graph.data[name]:
        return 4 * spec.node_counts[name] * spec.feature_dims[name]
    x = graph.data[name].x
    return 4 * x.numel() if not x.is_sparse_csr else 12 * x.values().numel()


def _context_entries(graph: Graph, path: MetaPath) -> float:
    """At most this many entries in the operators of all positions of a path."""
    total = 0.0
    reach: np.ndarray = np.ones(
        graph.num_targets
    )  # walks that start at each node: their number bounds the nodes that they reach
    for edge_type in path.edge_types[:-1]:
        source, destination = graph.data[edge_type].edge_index.numpy()
        walks = np.bincount(destination, weights=reach[source], minlength=int(graph.data[edge_type[2]].num_nodes))
        total += min(walks.sum(), float(graph.num_targets) * len(walks))
        reach = walks
    return total


def _size(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
