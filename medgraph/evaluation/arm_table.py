"""Scores of several runs side by side: `python -m medgraph.evaluation.arm_table runs/digits-*`.

Runs of one arm differ in seed alone and are called `<arm>-s<seed>`; each holds one `scores.json`.
"""

import argparse
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from medgraph.errors import DataError
from medgraph.evaluation.scores import Scores

_NAME = re.compile(r"(.+)-s\d+")


def arm_table(folders: Sequence[Path]) -> str:
    """Markdown: a row for each case and label, a column for each arm with mean and standard deviation over its seeds.

    Raises:
        DataError: A folder is not called `<arm>-s<seed>`, or does not hold one `scores.json`.
    """
    arms: dict[str, list[dict[tuple[str, str], float]]] = {}
    for folder in folders:
        match = _NAME.fullmatch(folder.name)
        if match is None:
            raise DataError(f"{folder}: expected a run folder called <arm>-s<seed>, e.g. digits-full-s1.")
        files = sorted(folder.glob("*/scores.json"))
        if len(files) != 1:
            raise DataError(f"{folder}: holds {len(files)} files scores.json, expected one. Did the run finish?")
        arms.setdefault(match.group(1), []).append(_scores(files[0]))
    places = list(dict.fromkeys(place for runs in arms.values() for run in runs for place in run))
    lines = ["| case | label | " + " | ".join(f"{arm} ({len(runs)})" for arm, runs in arms.items()) + " |"]
    lines.append("|---|---|" + "---:|" * len(arms))
    for case, label in places:
        cells = [_cell([run[case, label] for run in runs if (case, label) in run]) for runs in arms.values()]
        lines.append(f"| {case} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(path: Path) -> dict[tuple[str, str], float]:
    return {(row["case"], row["label"]): row["score"] for row in Scores.from_json(path).rows if "score" in row}


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the run folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders called <arm>-s<seed>")
    print(arm_table(parser.parse_args(arguments).folders))


if __name__ == "__main__":
    main()
