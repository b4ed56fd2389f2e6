"""What every source of a graph offers."""

from abc import ABC, abstractmethod
from functools import cached_property

from medgraph.data.graphs import Graph
from medgraph.data.spec import GraphSpec


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

    @property
    def spec(self) -> GraphSpec:
        """Node types, widths and classes."""
        return self.graph.spec
