"""Frozen facts that a source of data answers from headers and index files alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """What volumes, slices or images look like.

    Attributes:
        spatial_dims: 2 for slices and images, 3 for volumes.
        channels: Channels of an example.
        size: Voxels along each spatial axis of an example as the data hands it out.
        num_examples: Number of training examples.
        classes: Names of the classes, background first; empty when the data has no labels.
    """

    spatial_dims: int
    channels: int
    size: tuple[int, ...]
    num_examples: int
    classes: tuple[str, ...] = ()

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
    """

    target_type: str
    node_counts: dict[str, int]
    feature_dims: dict[str, int]
    num_classes: int | None
    edge_types: tuple[tuple[str, str, str], ...]
