"""Scores of several runs side by side: `python -m medgraph.evaluation.arm_table runs/lesion-*`.

Runs of one arm differ in seed alone. The first run named is of the arm that all others are compared with.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medgraph.errors import DataError, MedgraphError
from medgraph.evaluation.bootstrap import FEWEST, t_interval
from medgraph.evaluation.scores import Scores

_STEM = re.compile(r"(.+?)-s?(?:eed)?\d+")

Place = tuple[str, str]  # case and label of a row


@dataclass(frozen=True, eq=False)
class _Run:
    """One finished run: what was asked for, and its score by case and label, with those of drawn-again subjects."""

    folder: Path
    pipeline: str
    overrides: frozenset[str]
    seed: int
    scores: dict[Place, float]
    resampled: dict[Place, np.ndarray]


def arm_table(folders: Sequence[Path], rows: Sequence[str] = (), metric: str = "score") -> str:
    """Markdown: a row for each case and label, and for each arm its mean and standard deviation over seeds.

    Every arm but the first has its difference to the first over equal seeds: in brackets the 95 % t interval over
    three or more seeds, in braces, where all runs stored it, the 95 % bootstrap interval over test subjects.

    Args:
        folders: Run folders, each with one `scores.json`; arms are told apart by pipeline and overrides.
        rows: Regular expressions; a row is shown if one of them is found in its "case, label". None shows all.
        metric: Which figure of a row, e.g. "mae"; rows without it are left out. Bootstrap intervals are of "score".

    Raises:
        DataError: A folder holds no finished run or several scores, a seed comes twice, no row is left, or a row is no
            regular expression.
    """
    for row in rows:
        try:
            re.compile(row)
        except re.error as error:
            raise DataError(f"rows {row}: is no regular expression: {error}. Put a backslash before ( or [.") from error
    arms = _arms([_read(folder, metric) for folder in folders])
    first = next(iter(arms))
    places = list(dict.fromkeys(place for runs in arms.values() for run in runs for place in run.scores))
    shown = [place for place in places if not rows or any(re.search(row, ", ".join(place)) for row in rows)]
    if not places:
        raise DataError(
            f"metric {metric}: no row of these runs has it, expected score, mae or another of their figures."
        )
    if not shown:
        raise DataError(f"rows {', '.join(rows)}: found in none of {len(places)} rows, e.g. {', '.join(places[0])!r}.")
    others = [name for name in arms if name != first]
    titles = [f"{name} ({len(runs)})" for name, runs in arms.items()]
    header = [titles[0], *(title for one in titles[1:] for title in (one, f"minus {first}"))]
    lines = ["| case | label | " + " | ".join(header) + " |", "|---|---|" + "---:|" * len(header)]
    for place in shown:
        cells = [_mean(arms[first], place)]
        for name in others:
            cells += [_mean(arms[name], place), _difference(arms[name], arms[first], place)]
        lines.append(f"| {' | '.join((*place, *cells))} |")
    return "\n".join(lines)


def _read(folder: Path, metric: str) -> _Run:
    files = sorted(folder.glob("*/scores.json"))
    if len(files) != 1:
        raise DataError(f"{folder}: holds {len(files)} files scores.json, expected one. Did the run finish?")
    try:
        asked = json.loads((folder / "environment.json").read_text())
        pipeline, seed, overrides = str(asked["pipeline"]), int(asked["seed"]), list(asked["overrides"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}/environment.json: expected what a run writes ({error!r}).") from error
    found = Scores.from_json(files[0])
    scores = {(row["case"], row["label"]): row[metric] for row in found.rows if metric in row}
    drawn = found.resampled if metric == "score" else []
    resampled = {(row["case"], row["label"]): np.array(row["scores"]) for row in drawn}
    changes = frozenset(change for change in overrides if not change.startswith("seed="))
    return _Run(folder, pipeline, changes, seed, scores, resampled)


def _arms(runs: Sequence[_Run]) -> dict[str, list[_Run]]:
    """Runs by name of their arm: that of the first run first, the others by name."""
    groups: dict[Any, list[_Run]] = {}
    for run in runs:
        groups.setdefault((run.pipeline, run.overrides), []).append(run)
    everywhere = frozenset.intersection(*(run.overrides for run in runs))
    several = len({run.pipeline for run in runs}) > 1
    named: dict[str, list[_Run]] = {}
    for members in groups.values():
        seeds = [run.seed for run in members]
        twice = next((run for run in members if seeds.count(run.seed) > 1), None)
        if twice is not None:
            raise DataError(f"{twice.folder}: seed {twice.seed} comes twice in this arm, expected each seed once.")
        named[_name(members, everywhere, several, named)] = sorted(members, key=lambda run: run.seed)
    first = next(iter(named))
    return {name: named[name] for name in (first, *sorted(named.keys() - {first}))}


def _name(members: Sequence[_Run], everywhere: frozenset[str], several: bool, taken: dict[str, Any]) -> str:
    """What the folders are called without their seed; else the overrides that not all runs share."""
    stems = {match.group(1) if (match := _STEM.fullmatch(run.folder.name)) else None for run in members}
    stem = stems.pop() if len(stems) == 1 else None
    if stem is not None and stem not in taken:
        return stem
    changes = sorted(members[0].overrides - everywhere)
    keys = [members[0].pipeline] if several or not changes else []
    short = ", ".join([*keys, *(f"{key.rpartition('.')[2]}={value}" for key, _, value in map(_split, changes))])
    return short if short not in taken else ", ".join([*keys, *changes])


def _split(change: str) -> tuple[str, str, str]:
    return change.partition("=")


def _mean(runs: Sequence[_Run], place: Place) -> str:
    values = [run.scores[place] for run in runs if place in run.scores]
    if not values:
        return ""
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def _difference(runs: Sequence[_Run], first: Sequence[_Run], place: Place) -> str:
    """Mean difference over equal seeds with its intervals; empty where the arms share no seed."""
    of_seed = {run.seed: run for run in first if place in run.scores}
    paired = [(run, of_seed[run.seed]) for run in runs if place in run.scores and run.seed in of_seed]
    if not paired:
        return ""
    differences = np.array([run.scores[place] - other.scores[place] for run, other in paired])
    text = f"{differences.mean():+.3f}"
    if len(paired) >= FEWEST:
        low, high = t_interval(differences)
        text += f" [{low:+.3f}, {high:+.3f}]"
    if all(len(one.resampled.get(place, ())) > 0 for pair in paired for one in pair):
        of_subjects = np.mean([run.resampled[place] - other.resampled[place] for run, other in paired], axis=0)
        low, high = np.nanpercentile(of_subjects, (2.5, 97.5))
        text += f" {{{low:+.3f}, {high:+.3f}}}"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the run folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders; the first one's arm is compared with")
    parser.add_argument("--rows", action="append", default=[], metavar="PATTERN", help="only rows that it is found in")
    parser.add_argument(
        "--metric", default="score", help="the figure that is shown, e.g. mae; %(default)s if not given"
    )
    given = parser.parse_args(arguments)
    try:
        print(arm_table(given.folders, given.rows, given.metric))
    except MedgraphError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
