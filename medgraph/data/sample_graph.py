"""The small real graphs that ship with the package."""

from pathlib import Path

from medgraph import checks
from medgraph.data.saved_graph import SavedGraph

_ROOT = Path(__file__).resolve().parents[1] / "samples"


class SampleGraph(SavedGraph):
    """A graph that ships with the package: nothing to fetch.

    `acm`: 4,019 papers in three fields, their 7,167 authors and 60 subjects, with the splits of 20, 40 and 60 labels a
    class; origin and citation lie beside the file.

    Args:
        dataset: Which one.
        metapaths: Names or lists of edge types; None takes `pap` and `psp`.
        normalize: Divide each row of features by its sum of absolute values.
    """

    def __init__(
        self,
        dataset: str = "acm",
        metapaths: tuple[str | list[list[str]], ...] | None = None,
        normalize: bool = True,
    ):
        self.dataset = checks.one_of("dataset", dataset, ("acm",))
        super().__init__(str(_ROOT / dataset / "graph.npz"), None, metapaths, normalize)

    def __repr__(self) -> str:
        return f"SampleGraph(dataset={self.dataset!r})"
