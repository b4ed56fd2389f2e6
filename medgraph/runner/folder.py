"""Where things lie inside a run folder, and what it says of the run as a whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.runner import checkpoint


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        path: The run folder.
    """

    path: Path

    def stage(self, name: str) -> Path:
        """Everything of one stage: metrics, checkpoint, encoder, scores."""
        return self.path / name

    def encoder(self, stage: str) -> Path:
        """The encoder that a train stage exported; a name with a slash is the path of an encoder from elsewhere."""
        return Path(stage) if "/" in stage else self.stage(stage) / "encoder"


def read_environment(folder: Path) -> dict[str, Any]:
    """What the run in a folder was asked for and by which versions it was made. Raises CheckpointError."""
    advice = (
        'Take it from a copy of the run, or write {"pipeline": NAME, "overrides": []} into it with the name from '
        "pipeline.yaml beside it; or choose another --out."
    )
    return checkpoint.read_json(folder / "environment.json", {"pipeline": str, "overrides": list}, advice)
