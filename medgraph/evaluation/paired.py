"""Two arms side by side: means, and paired differences with their intervals."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medgraph.evaluation.bootstrap import paired_difference
from medgraph.evaluation.scores import Scores


def paired_rows(first: Sequence[Scores], second: Sequence[Scores]) -> list[dict[str, Any]]:
    """One row per class label, and their mean, and metric: `first`, `second`, and `difference`, first minus second.

    Figures are averaged over seeds for each test case, then paired over cases; the interval is a 95 % bootstrap. Where
    an evaluator tells nothing of single cases, seeds are paired instead: `over` says which. `seeds` holds the figures
    of each seed, first and second. `chief` marks the row that a verdict is about.

    Args:
        first: Scores of one arm, one for each seed.
        second: Scores of the other, of the same seeds and cases.
    """
    names = first[0].metrics()
    labels = sorted({row["label"] for row in first[0].rows})
    single = len({row["case"] for row in first[0].units()}) == 1
    rows = []
    for label in [*labels, "mean"] if len(labels) > 1 else labels:
        for name in names:
            a, b = (_per_unit(scores, label, name, single) for scores in (first, second))
            units = [unit for unit in a if unit in b]
            if not units:
                continue  # a metric that this label does not have
            left, right = [a[unit] for unit in units], [b[unit] for unit in units]
            by_seed = [[_mean(_per_unit([one], label, name, single)) for one in arm] for arm in (first, second)]
            rows.append(
                {
                    "label": label,
                    "metric": name,
                    "first": sum(left) / len(left),
                    "second": sum(right) / len(right),
                    "seeds": [list(pair) for pair in zip(*by_seed, strict=True)],
                    "difference": asdict(paired_difference(left, right, seed=0)),
                    "over": "seeds" if single else "cases",
                    "chief": name == names[0] and label == (labels[0] if len(labels) == 1 else "mean"),
                }
            )
    return rows


def _per_unit(scores: Sequence[Scores], label: str, name: str, single: bool) -> dict[Any, float]:
    """Metric of one label, of "mean" averaged over labels: per case, over seeds; of a single case, per seed."""
    found: dict[Any, list[float]] = {}
    for number, one in enumerate(scores):
        for row in one.units():
            if label in ("mean", row["label"]) and name in row:
                found.setdefault(number if single else row["case"], []).append(row[name])
    return {unit: sum(values) / len(values) for unit, values in found.items()}


def _mean(found: dict[Any, float]) -> float:
    return sum(found.values()) / len(found)
