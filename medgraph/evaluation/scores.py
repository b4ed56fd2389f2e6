"""Scores of a model, case by case, as they are stored and read again."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medgraph.errors import DataError


@dataclass(frozen=True)
class Scores:
    """What an evaluator returns.

    Attributes:
        rows: One dictionary per case and label: "case", "label", and a number per metric.
        overlays: Pictures for the report: "case", and nested lists "image", "truth", "prediction" of one slice.
    """

    rows: list[dict[str, Any]]
    overlays: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Mean over cases of each metric, by "label metric" and, over all labels, "mean metric"."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            for name, value in row.items():
                if name not in ("case", "label"):
                    found.setdefault(f"{row['label']} {name}", []).append(value)
                    found.setdefault(f"mean {name}", []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def to_json(self, path: Path) -> None:
        """Write everything to `path`, whole or not at all."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"summary": self.summary(), **asdict(self)}) + "\n")
        os.replace(temporary, path)

    @classmethod
    def from_json(cls, path: Path) -> "Scores":
        """Read what `to_json` wrote. Raises DataError."""
        try:
            stored = json.loads(path.read_text())
            return cls(stored["rows"], stored["overlays"])
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise DataError(f"{path}: expected scores as written by an evaluator ({error!r}).") from error
