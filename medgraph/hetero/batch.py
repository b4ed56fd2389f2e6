"""GraphViews: everything that one step on the whole graph needs, as constant operators."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from medgraph.hetero.operators import Mean, Operator

Features = Operator | Tensor | None  # None is one-hot
ROUNDS_OF_A_MEMBER = 10**9  # more than any training has


@dataclass(frozen=True, eq=False)
class PathViews:
    """One meta-path.

    Attributes:
        name: Its name.
        adjacency: Normalised target-to-target graph.
        masked: The same with edges masked; None without augmented copies.
        context: Node type and row-mean operator (targets x nodes of that type) of each intermediate position.
    """

    name: str
    adjacency: Operator
    masked: Operator | None = None
    context: tuple[tuple[str, Operator], ...] = ()

    def to(self, device: torch.device | str) -> "PathViews":
        """The operators on another device."""
        masked = None if self.masked is None else self.masked.to(device)
        context = tuple((node_type, operator.to(device)) for node_type, operator in self.context)
        return PathViews(self.name, self.adjacency.to(device), masked, context)


@dataclass(frozen=True)
class Masks:
    """One draw of the augmented copies.

    Attributes:
        features: Features of the target with entries masked.
        adjacencies: Masked graph of each meta-path, in their order.
    """

    features: Features
    adjacencies: tuple[Operator, ...]


@dataclass(frozen=True, eq=False)
class GraphViews:
    """The views of one graph.

    Attributes:
        target_type: Node type that is embedded.
        ids: Numbers of the targets (n,).
        features: By node type; None where a type has none and is one-hot.
        paths: One entry per meta-path.
        masked_features: The target's features with entries masked; ignored where the paths have no masked copies.
        positives: Further positives as (query, key) pairs (2, e), ascending by query; None for none.
        draw_masks: Gives the masks of a round of epochs; None keeps those that are here.
        resample_masks_every: Epochs of a round; 0 keeps the masks of the first for the whole run.
        first_round: Round of the masks that are here.
    """

    target_type: str
    ids: Tensor
    features: dict[str, Features]
    paths: tuple[PathViews, ...]
    masked_features: Features = None
    positives: Tensor | None = None
    draw_masks: Callable[[int], Masks] | None = None
    resample_masks_every: int = 0
    first_round: int = 0
    _kept: dict[object, "GraphViews"] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_masks(self) -> bool:
        """Whether the paths have augmented copies."""
        return self.paths[0].masked is not None

    @property
    def coarse(self) -> Operator:
        """The mean of the meta-path graphs."""
        return Mean([path.adjacency for path in self.paths])

    def at_epoch(self, epoch: int) -> "GraphViews":
        """The views with the masks of that epoch."""
        every = self.resample_masks_every
        number = self.first_round + (epoch // every if every else 0)
        if number == self.first_round or self.draw_masks is None:
            return self
        if ("round", number) not in self._kept:
            for key in [key for key in self._kept if isinstance(key, tuple)]:
                del self._kept[key]  # one round at a time
            self._kept["round", number] = self._with_masks(number)
        return self._kept["round", number]

    def of_member(self, member: int) -> "GraphViews":
        """The views as member 0, 1, ... of several networks sees them: with masks of its own, those of 0 are these."""
        if member == 0 or self.draw_masks is None:
            return self
        key = f"member {member}"
        if key not in self._kept:
            number = self.first_round + member * ROUNDS_OF_A_MEMBER
            self._kept[key] = replace(self._with_masks(number), first_round=number)
        return self._kept[key]

    def _with_masks(self, number: int) -> "GraphViews":
        assert self.draw_masks is not None
        masks, device = self.draw_masks(number), self.ids.device
        paths = tuple(
            replace(path, masked=adjacency.to(device))
            for path, adjacency in zip(self.paths, masks.adjacencies, strict=True)
        )
        return replace(self, paths=paths, masked_features=move(masks.features, device), _kept={})

    def to(self, device: torch.device | str) -> "GraphViews":
        """The views on another device, moved once and then kept."""
        device = torch.device(device)
        if device.type == self.ids.device.type and device.index in (None, self.ids.device.index):
            return self
        if device not in self._kept:
            self._kept[device] = replace(
                self,
                ids=self.ids.to(device),
                features={name: move(value, device) for name, value in self.features.items()},
                paths=tuple(path.to(device) for path in self.paths),
                masked_features=move(self.masked_features, device),
                positives=None if self.positives is None else self.positives.to(device),
                _kept={},
            )
        return self._kept[device]


def move(features: Features, device: torch.device | str) -> Features:
    """Features on another device."""
    return None if features is None else features.to(device)


def times(features: Features, weight: Tensor) -> Tensor:
    """Features (n, width) times a matrix (width, d); one-hot ones give the matrix itself."""
    if features is None:
        return weight
    return features @ weight if isinstance(features, Tensor) else features(weight)
