"""What every source of a graph offers."""

from abc import ABC, abstractmethod
from copy import copy
from functools import cached_property
from typing import Any

from medgraph.data.graphs import Graph
from medgraph.data.spec import GraphSpec, settled


class GraphSource(ABC):
    """Where a graph comes from. It is read once, on first use."""

    @abstractmethod
    def read(self) -> Graph:
        """Read the graph, whole and checked."""

    @cached_property
    def graph(self) -> Graph:
        """The graph, read on first use."""
        return self.read()

    @property
    def structure(self) -> Graph:
        """The graph with everything but what takes long to compute: enough to plan with."""
        return self.graph

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`; by default a source takes nothing from its files that its config does not say."""
        return node

    def without_labels(self) -> "GraphSource":
        """The source for who needs neither labels nor splits, which may then be absent; by default itself."""
        return self

    @property
    def bound_types(self) -> tuple[str, ...]:
        """Node types whose features mean something in this very graph alone, as vectors of walks in it do."""
        return ()

    @property
    def spec(self) -> GraphSpec:
        """Node types, widths and classes."""
        return self.graph.spec


class WrappedGraph(GraphSource):
    """Another source's graph with other features.

    Args:
        source: The graph.
    """

    def __init__(self, source: Any):
        self.source = source

    @property
    def structure(self) -> Graph:
        """The other source's graph."""
        return self.source.structure  # type: ignore[no-any-return]

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """With what the other source took from its files."""
        return {**node, "source": settled(self.source, node["source"])}

    def without_labels(self) -> "WrappedGraph":
        """The same of the other source without labels."""
        other = copy(self)
        other.__dict__.pop("graph", None)
        other.source = self.source.without_labels()
        return other

    @property
    def bound_types(self) -> tuple[str, ...]:
        """Those of the other source."""
        return self.source.bound_types  # type: ignore[no-any-return]
