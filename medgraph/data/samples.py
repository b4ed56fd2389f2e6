"""The small real data sets that ship with the package."""

from pathlib import Path

from medgraph import checks
from medgraph.data.decathlon import DecathlonSource

_ROOT = Path(__file__).resolve().parents[1] / "samples"


class SampleSource(DecathlonSource):
    """A data set that ships with the package: nothing to fetch.

    `hippocampus`: 40 MR volumes of the Medical Segmentation Decathlon with two structures labelled, 24 for training and
    16 for testing; licence and citation lie beside the files.

    Args:
        dataset: Which one.
    """

    def __init__(self, dataset: str = "hippocampus"):
        self.dataset = checks.one_of("dataset", dataset, ("hippocampus",))
        super().__init__(str(_ROOT / dataset))

    def __repr__(self) -> str:
        return f"SampleSource(dataset={self.dataset!r})"
