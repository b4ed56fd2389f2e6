"""Scores of a model, case by case, as they are stored and read again."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medgraph import files
from medgraph.errors import DataError
from medgraph.evaluation.bootstrap import interval


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        title: Its name in tables, with the unit.
        digits: Decimals.
        lower_is_better: True for distances and errors.
        is_share: True where 1 is the best there is, unless it is given in percent.
        lowest: The least it can be.
    """

    title: str
    digits: int = 4
    lower_is_better: bool = False
    is_share: bool = False
    lowest: float = 0.0


METRICS = {
    "dice": Metric("Dice", is_share=True),
    "hd95": Metric("HD95, mm", 2, lower_is_better=True),
    "hd95_px": Metric("HD95, px", 2, lower_is_better=True),
    "surface_dice": Metric("surface Dice", is_share=True),
    "volume_error": Metric("volume error, ml", 3, lower_is_better=True),
    "area_error_px": Metric("area error, px", 1, lower_is_better=True),
    "auc": Metric("AUC", is_share=True),
    "accuracy": Metric("accuracy", is_share=True),
    "balanced_accuracy": Metric("balanced accuracy", is_share=True),
    "recall": Metric("recall", is_share=True),
    "macro_f1": Metric("Macro-F1", is_share=True),
    "micro_f1": Metric("Micro-F1", is_share=True),
    "nmi": Metric("NMI", is_share=True),
    "ari": Metric("ARI", is_share=True, lowest=-0.5),
    "mae": Metric("mean absolute error", lower_is_better=True),
    "r2": Metric("R squared", is_share=True, lowest=-math.inf),
}


def metric(name: str) -> Metric:
    """How the metric `name` is shown; one that is not listed shows under its own name."""
    return METRICS.get(name, Metric(name.replace("_", " "), lowest=-math.inf))


def _within(name: str, ends: tuple[float, float], figure: float) -> tuple[float, float]:
    """An interval cut off where its metric ends; a figure above 1 is in percent."""
    facts = metric(name)
    return max(ends[0], facts.lowest), min(ends[1], 1.0) if facts.is_share and figure <= 1 else ends[1]


@dataclass(frozen=True)
class Scores:
    """What an evaluator returns.

    Attributes:
        rows: One dictionary per case and label: "case", "label", and a number per metric, the chief one first.
        overlays: Pictures for the report: "case", and nested lists "image", "truth", "prediction" of one slice.
        figures: Plots for the report: "title", and "png" in base64.
        resampled: "case", "label", and "scores" of that row when subjects are drawn again: the same draws for every
            model of the same test part, so that differences of two models are paired.
        per_case: Where rows hold one figure for the whole test part: what each case adds to it, laid out as rows. Their
            mean is the figure, their spread says how sure it is, see `evaluation.per_case`.
    """

    rows: list[dict[str, Any]]
    overlays: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, str]] = field(default_factory=list)
    resampled: list[dict[str, Any]] = field(default_factory=list)
    per_case: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of_whole(cls, label: str, names: Sequence[str], shares: Mapping[str, np.ndarray]) -> "Scores":
        """Scores of one row: the mean over cases of each metric's shares `(n,)`; `names` are those of the cases."""
        figures = {metric: float(values.mean()) for metric, values in shares.items()}
        cases = [
            {"case": name, "label": label} | {metric: float(values[index]) for metric, values in shares.items()}
            for index, name in enumerate(names)
        ]
        return cls([{"case": "test", "label": label, **figures}], per_case=cases)

    def units(self) -> list[dict[str, Any]]:
        """Rows with one case each, as far as there are: what differences are paired over."""
        return self.per_case or self.rows

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Ends of the 95 % interval over cases of what `summary` says: a t interval of 3 to 9 cases, none of fewer.

        An interval of few cases may reach beyond what a metric can be: it ends there.
        """
        means = _case_means(self.units())
        ends = {key: interval(np.asarray(values)) for key, values in means.items()}
        return {
            key: _within(key.split()[-1], between, sum(means[key]) / len(means[key]))
            for key, between in ends.items()
            if between is not None
        }

    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of the rows; the first is the one a verdict is about."""
        return list(dict.fromkeys(name for row in self.rows for name in row if name not in ("case", "label")))

    def summary(self) -> dict[str, float]:
        """Mean over cases of each metric, by "label metric" and, of their means over labels, "mean metric"."""
        return {key: sum(means) / len(means) for key, means in _case_means(self.rows).items()}

    def to_json(self, path: Path) -> None:
        """Write everything to `path`, whole or not at all; a number that is not finite as null."""
        told = _finite({"summary": self.summary(), **asdict(self)})
        with files.whole(path) as temporary:
            temporary.write_text(json.dumps(told, allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, path: Path) -> "Scores":
        """Read what `to_json` wrote, null as NaN. Raises DataError."""
        try:
            stored = json.loads(path.read_text())
            resampled, per_case = (_with_nan(stored.get(key, [])) for key in ("resampled", "per_case"))
            found = cls(_with_nan(stored["rows"]), stored["overlays"], stored.get("figures", []), resampled, per_case)
            found.summary()  # rows that are none are told here, with the file
            return found
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"{path}: expected scores as written by an evaluator ({error!r}). Remove this file and the done.json "
                "of its stage, and go on with the run by --resume: it is scored again."
            ) from error


def _finite(value: Any) -> Any:
    """The same with None in place of each number that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with NaN in place of each None, also in lists."""

    def number(value: Any) -> Any:
        return [number(one) for one in value] if isinstance(value, list) else math.nan if value is None else value

    return [{key: number(value) for key, value in row.items()} for row in rows]


def _case_means(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """A number per case, by "label metric" and, over the labels that the case has, "mean metric"."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("case", "label"):
                for key in (f"{row['label']} {name}", f"mean {name}"):
                    found.setdefault(key, {}).setdefault(row["case"], []).append(value)
    return {key: [sum(values) / len(values) for values in cases.values()] for key, cases in found.items()}
