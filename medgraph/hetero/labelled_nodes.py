"""LabelledNodes: the views of a graph, with the labels of few of its targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from medgraph import checks
from medgraph.data.graphs import Graph
from medgraph.data.label_counts import label_count
from medgraph.data.node_labels import PARTS
from medgraph.data.spec import MetapathSpec, settled
from medgraph.errors import DataError
from medgraph.hetero.batch import GraphViews


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """The whole graph, and the labels that a training may see.

    Attributes:
        views: The graph.
        nodes: Numbers of the labelled training targets (n,).
        labels: Their classes (n,).
        validation_nodes: Numbers of the validation targets (m,).
        validation_labels: Their classes (m,).
    """

    views: GraphViews
    nodes: Tensor
    labels: Tensor
    validation_nodes: Tensor
    validation_labels: Tensor

    def __len__(self) -> int:
        return len(self.nodes)

    def to(self, device: torch.device | str) -> "LabelledViews":
        """The same on another device."""
        known = (self.nodes, self.labels, self.validation_nodes, self.validation_labels)
        return LabelledViews(self.views.to(device), *(tensor.to(device) for tensor in known))


class LabelledGraph:
    """A data set of one example: the whole graph with its labels.

    Args:
        example: What a step is given.
    """

    def __init__(self, example: LabelledViews):
        self.example, self.views = example, example.views

    def __len__(self) -> int:
        return 1

    def __getitems__(self, indices: Sequence[int]) -> LabelledViews:
        return self.example


class LabelledNodes:
    """A graph with the labels of one split: those of its training targets to fit, those of validation to stop by.

    Args:
        graph_data: The graph as views, `metapath_views`. Without `masked_copies` only clean views are fine-tuned.
        num_labelled: Labelled targets of each class, or a share of those of the training part, rounded up; None takes
            the whole training part.
        split: Split to take; `num_labelled` of each class are then the first of its training part, in an order drawn
            from `seed`. None takes the split that is called like `num_labelled`, or the only one; a share needs it.
        seed: Filled from the pipeline.
    """

    def __init__(
        self, graph_data: Any, num_labelled: int | float | None = None, split: str | None = None, seed: int = 0
    ):
        self.graph_data, self.seed = graph_data, seed
        self.num_labelled = None if num_labelled is None else checks.count_or_share("num_labelled", num_labelled, 1)
        self.wanted = split

    @property
    def graph(self) -> Graph:
        """The graph, with all labels and splits."""
        return self.graph_data.graph

    @property
    def spec(self) -> MetapathSpec:
        """Facts of the graph."""
        return self.graph_data.spec

    @cached_property
    def split(self) -> str:
        """Name of the split that is used.

        Raises:
            DataError: It does not exist, lacks a part, or has to be named.
        """
        names, wanted = list(self.graph.splits), self.wanted
        if wanted is None and isinstance(self.num_labelled, int):
            wanted = str(self.num_labelled)
        elif wanted is None and len(names) == 1:
            wanted = names[0]
        listed = ", ".join(names) or "none"
        if wanted is None:
            raise DataError(
                f"data.split: expected the name of a split, or a number in data.num_labelled. Splits: {listed}."
            )
        if wanted not in names:
            hint = "" if self.wanted is not None else " Name one in data.split, to take so many a class from it."
            raise DataError(f"data: the graph has no split called {wanted!r}. Splits: {listed}.{hint}")
        missing = [part for part in PARTS if part not in self.graph.splits[wanted]]
        if missing:
            raise DataError(f"data.split: {wanted!r} has no part {missing[0]!r}; expected {', '.join(PARTS)}.")
        return wanted

    @cached_property
    def parts(self) -> dict[str, Tensor]:
        """Numbers of the targets to train, validate and test on.

        Raises:
            DataError: The training part has too few targets of a class.
        """
        parts = {part: self.graph.splits[self.split][part] for part in PARTS}
        if self.num_labelled is not None and (self.wanted is not None or isinstance(self.num_labelled, float)):
            parts["train"] = self._drawn(parts["train"], self.num_labelled)
        return parts

    def check_num_labelled(self, num_labelled: int | float) -> None:
        """Raise DataError where a class has fewer training targets, or no split is called so."""
        LabelledNodes(self.graph_data, num_labelled, self.wanted, self.seed).parts  # noqa: B018

    def train(self) -> LabelledGraph:
        """One example: the whole graph."""
        labels, parts = self._labels, self.parts
        known = (parts["train"], labels[parts["train"]], parts["val"], labels[parts["val"]])
        return LabelledGraph(LabelledViews(self.graph_data.views, *known))

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return {**node, "graph_data": settled(self.graph_data, node["graph_data"])}

    def without_labels(self) -> Any:
        """The views of the graph, see `MetapathViews.without_labels`."""
        return self.graph_data.without_labels()

    @property
    def member(self) -> int:
        """Which of several networks sees these data."""
        return self.graph_data.member

    def of_member(self, member: int) -> "LabelledNodes":
        """These data as member 0, 1, ... of several networks sees them, see `GraphViews.of_member`."""
        return LabelledNodes(self.graph_data.of_member(member), self.num_labelled, self.wanted, self.seed)

    def validation(self) -> LabelledGraph:
        """The same as `train()`; `parts` says which targets are whose."""
        return self.train()

    def test(self) -> LabelledGraph:
        """The same as `train()`."""
        return self.train()

    @property
    def _labels(self) -> Tensor:
        if self.graph.labels is None:
            raise DataError("data: the graph has no labels, so nothing can be fine-tuned to them.")
        return self.graph.labels

    def _drawn(self, nodes: Tensor, num_labelled: int | float) -> Tensor:
        """The first of each class, in an order drawn from the seed."""
        order = nodes.unique()
        order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(self.seed))]
        chosen = []
        for number, name in enumerate(self.graph.classes):
            own = order[self._labels[order] == number]
            count = label_count(num_labelled, len(own))
            if len(own) < count:
                raise DataError(
                    f"data.num_labelled: split {self.split!r} has {len(own)} training targets of class {name!r}, "
                    f"expected {count} or more."
                )
            chosen.append(own[:count])
        return torch.cat(chosen)
