"""Where things lie inside a run folder."""

from dataclasses import dataclass
from pathlib import Path


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
