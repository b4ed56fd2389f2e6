"""Two arms side by side: means, and paired differences with their intervals."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medgraph.evaluation.bootstrap import paired_difference
from medgraph.evaluation.scores import Scores

_CLOCK = ("nodes_per_second", "seconds")  # what a machine did, not what an arm learned


def paired_rows(first: Sequence[Scores], second: Sequence[Scores]) -> list[dict[str, Any]]:
    """One row per class label, and their mean, and metric: `first`, `second`, and `difference`, first minus second.

    Figures are averaged over seeds for each test case, then paired over cases; the interval is that of
    `bootstrap.paired_difference`. Where an evaluator tells nothing of single cases, seeds are paired instead: `over`
    says which. `seeds` holds the figures of each seed, first and second. `chief` marks the row of the verdict. What no
    arm has learned (`floor_...`), spreads over draws (`..._std`) and times of the clock are not compared.

    Args:
        first: Scores of one arm, one for each seed.
        second: Scores of the other, of the same seeds and cases.
    """
    names = [name for name in first[0].metrics() if not name.startswith("floor_") and not name.endswith("_std")]
    names = [name for name in names if name not in _CLOCK]
    labels = sorted({row["label"] for row in first[0].rows if any(name in row for name in names)})
    single = len({row["case"] for row in first[0].units() if row["label"] in labels}) == 1
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
                    "difference": asdict(paired_difference(left, right, seed=0, of_seeds=single)),
                    "over": "seeds" if single else "cases",
                    "chief": name == names[0] and label == (labels[0] if len(labels) == 1 else "mean"),
                }
            )
    return rows


def resampled_rows(first: Scores, second: Scores) -> list[dict[str, Any]]:
    """One row per case and label whose score both have for drawn-again subjects: `first`, `second`, `difference`.

    The draws are the same for both, so the interval is that of the differences draw by draw. What both read alike, such
    as a peer beside the encoder, is left out.
    """
    ours, theirs = _drawn(first), _drawn(second)
    rows = []
    for case, label in (place for place in ours if place in theirs):
        left, right = ours[case, label], theirs[case, label]  # the score, then those of drawn-again subjects
        if np.array_equal(left, right, equal_nan=True):
            continue
        low, high = np.nanpercentile(left[1:] - right[1:], (2.5, 97.5))
        difference = {"mean": float(left[0] - right[0]), "low": float(low), "high": float(high)}
        figures = {"first": float(left[0]), "second": float(right[0]), "difference": difference}
        rows.append({"case": case, "label": label, "metric": "score", **figures, "over": "drawn-again subjects"})
    return rows


def told(difference: dict[str, Any], digits: int) -> str:
    """A row's difference and its interval; of too few pairs, that there is none."""
    mean = f"{difference['mean']:+.{digits}f}"
    if difference["low"] is None:
        return f"{mean}, {difference['n']} pair{'s' if difference['n'] > 1 else ''}: no interval"
    return f"{mean} [{difference['low']:+.{digits}f}, {difference['high']:+.{digits}f}]"


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


def _drawn(scores: Scores) -> dict[tuple[str, str], np.ndarray]:
    """Score of each row that has resampled ones, and these behind it, by case and label."""
    score = {(row["case"], row["label"]): row["score"] for row in scores.rows if "score" in row}
    places = {(one["case"], one["label"]): one["scores"] for one in scores.resampled}
    return {place: np.array([score[place], *drawn], dtype=np.float64) for place, drawn in places.items()}
