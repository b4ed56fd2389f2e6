"""Frozen facts that a source of data answers from headers and index files alone."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from medgraph.errors import DataError


@dataclass(frozen=True)
class ImageSpec:
    """What volumes, slices or images look like.

    Attributes:
        spatial_dims: 2 for slices and images, 3 for volumes.
        channels: Channels of an example.
        size: Voxels along each spatial axis of an example as the data hands it out.
        num_examples: Number of training examples.
        classes: Names of the classes, background first; empty when the data has no labels.
        attributes: Names of what is known about each example of a grouped set, see `data.grouped`.
        num_volumes: Number of training volumes, of data that hands out volumes as stacks of slices; else 0.
        num_slices: Fewest and most slices of those volumes; none without.
        target: Name of the number that is known of each example, with its unit; empty without.

    Raises:
        DataError: Two classes of one name.
    """

    spatial_dims: int
    channels: int
    size: tuple[int, ...]
    num_examples: int
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    num_volumes: int = 0
    num_slices: tuple[int, ...] = ()
    target: str = ""

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise DataError(
                f"the classes {', '.join(self.classes)}: {twice[0]!r} comes twice, expected a name of its own for "
                "each, as scores are told by it. Rename one."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, background included; 0 without labels."""
        return len(self.classes)


@dataclass(frozen=True)
class GraphSpec:
    """What a heterogeneous graph looks like.

    Attributes:
        target_type: Node type that is embedded.
        node_counts: Number of nodes by node type.
        feature_dims: Width of the features by node type; 0 where a type has none (one-hot is used).
        num_classes: Number of classes of the target type; None without labels.
        edge_types: Every (source type, relation, destination type), both directions.
        path_feature_dims: Where the target has features of its own for each meta-path: the width of each block of its
            columns, by the path's name, in order. Empty where all paths share all columns.
    """

    target_type: str
    node_counts: dict[str, int]
    feature_dims: dict[str, int]
    num_classes: int | None
    edge_types: tuple[tuple[str, str, str], ...]
    path_feature_dims: dict[str, int] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class MetapathSpec(GraphSpec):
    """A graph and the meta-paths along which it is viewed.

    Attributes:
        context_types: By meta-path, the node types whose features flow into the target as context; none without.
        num_positives: Further positives of each target.
        is_batched: Whether training sees batches of targets, not the whole graph.
    """

    context_types: dict[str, tuple[str, ...]]
    num_positives: int = 0
    is_batched: bool = False


@dataclass(frozen=True)
class JoinedSpec(MetapathSpec):
    """A graph that several networks see, each in its own way; all else is of the first of them.

    Attributes:
        parts: What each network sees.
    """

    parts: tuple[MetapathSpec, ...] = field(default=(), kw_only=True)


def parts_of(spec: Any) -> tuple[Any, ...]:
    """What each of several networks sees; of any other spec, itself alone."""
    return getattr(spec, "parts", ()) or (spec,)


def settled(data: Any, node: dict[str, Any]) -> dict[str, Any]:
    """The config `node` that `data` was built from, with what it took from its files written out: a new case is then
    prepared alike where those files are not."""
    return data.settled(node) if hasattr(data, "settled") else node


def as_stored(node: Any) -> Any:
    """A data part that a run stored, with what versions before a key took for granted: slices were not upright."""
    if isinstance(node, list):
        return [as_stored(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: as_stored(value) for key, value in node.items()}
    return found if {"axis", "size"} - found.keys() else {"upright": False, **found}


def spec_from_dict(facts: dict[str, Any]) -> ImageSpec | GraphSpec:
    """The spec that `dataclasses.asdict` wrote, after a way through JSON."""
    if "spatial_dims" in facts:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return ImageSpec(**values)
    facts = {**facts, "edge_types": tuple(tuple(edge_type) for edge_type in facts["edge_types"])}
    if "context_types" not in facts:
        return GraphSpec(**facts)
    facts["context_types"] = {name: tuple(types) for name, types in facts["context_types"].items()}
    if "parts" not in facts:
        return MetapathSpec(**facts)
    return JoinedSpec(**{**facts, "parts": tuple(spec_from_dict(part) for part in facts["parts"])})
