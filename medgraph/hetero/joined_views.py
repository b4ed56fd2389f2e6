"""JoinedViews: one graph as several encoders see it, each in the way that it was trained on."""

from collections.abc import Sequence
from typing import Any

import torch

from medgraph import checks
from medgraph.data.graphs import Graph
from medgraph.data.spec import JoinedSpec, settled
from medgraph.hetero.batch import GraphViews
from medgraph.hetero.views import WholeGraph


class ViewsOfEach:
    """The views of several networks on one graph.

    Args:
        each: The views of each network.

    Attributes:
        target_type, ids, paths, coarse: Those of the first network.
    """

    def __init__(self, each: Sequence[GraphViews]):
        self.each = list(each)
        first = self.each[0]
        self.target_type, self.ids, self.paths, self.coarse = first.target_type, first.ids, first.paths, first.coarse

    def __len__(self) -> int:
        return len(self.ids)

    def of_member(self, member: int) -> GraphViews:
        """The views of network 0, 1, ..."""
        return self.each[member]

    def to(self, device: torch.device | str) -> "ViewsOfEach":
        """The views on another device, moved once and then kept."""
        return ViewsOfEach([views.to(device) for views in self.each])


class JoinedViews:
    """One graph as several networks see it, in parts with other neighbours, say, or other features.

    A stage with `choose.join` tells these beside its encoder, an `ensemble` of networks that were trained on one part
    each. Labels, splits and keys are those of the first part.

    Args:
        data: The parts, each of the whole graph.
        num_networks: How many of the networks each part is for, in their order. The first of them sees it as it is, the
            others with masks of their own.
    """

    is_batched = False

    def __init__(self, data: Sequence[Any], num_networks: tuple[int, ...]):
        if not data:
            raise ValueError("data: expected at least one part, got none")
        if len(num_networks) != len(data):
            raise ValueError(f"num_networks: expected one for each of {len(data)} parts, got {len(num_networks)}")
        for number in num_networks:
            checks.at_least("num_networks", number, 1)
        self.data, self.num_networks = list(data), num_networks

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return {**node, "data": [settled(data, inner) for data, inner in zip(self.data, node["data"], strict=True)]}

    def without_labels(self) -> "JoinedViews":
        """The same of a graph whose labels and splits are not read, and need not be there."""
        return JoinedViews([part.without_labels() for part in self.data], self.num_networks)

    @property
    def graph(self) -> Graph:
        """The graph, with labels and splits for whoever evaluates."""
        return self.data[0].graph

    @property
    def spec(self) -> JoinedSpec:
        """Facts of the graph in the first part, and those of each network."""
        first = self.data[0].spec
        of_each = tuple(part.spec for part, number in self._with_numbers() for _ in range(number))
        return JoinedSpec(**{**vars(first), "parts": of_each})

    @property
    def views(self) -> ViewsOfEach:
        """What each network is given."""
        return ViewsOfEach([part.views.of_member(k) for part, number in self._with_numbers() for k in range(number)])

    def train(self) -> WholeGraph:
        """One example: the views. Validation and test hold the same, since nodes are split by their labels only."""
        return WholeGraph(self.views)

    def validation(self) -> WholeGraph:
        """The same as `train()`."""
        return self.train()

    def test(self) -> WholeGraph:
        """The same as `train()`."""
        return self.train()

    def of_member(self, member: int) -> "JoinedViews":
        """These data: they hold what each network sees."""
        return self

    def _with_numbers(self) -> list[tuple[Any, int]]:
        return list(zip(self.data, self.num_networks, strict=True))
