"""Scores of node encoders over seeds: `python -m medgraph.evaluation.node_table runs/meow-acm-s*`.

Runs of one arm differ in seed alone and are called `<arm>-s<seed>`. Of each, the evaluate stages count (probes and
k-means, with the untrained network and the floor where they were scored) and the compare stage, if there is one.
"""

import argparse
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from medgraph.errors import DataError, MedgraphError
from medgraph.evaluation.scores import Scores, metric

_METRICS = ("macro_f1", "micro_f1", "auc", "nmi", "ari")
_RUN = re.compile(r"(.+)-s\d+")
_ARM_OF_COMPARE = re.compile(r"(pretrained|foreign|from-scratch)-(?:\d+|all)-seed\d+")
_ARMS = {"pretrained": "fine-tuned", "foreign": "fine-tuned foreign encoder", "from-scratch": "supervised twin"}
_FLOORS = {"": "", "floor_features_": "floor: features", "floor_averaged_": "floor: averaged over meta-paths"}
_ROWS = ["trained", "untrained", *_ARMS.values(), *list(_FLOORS.values())[1:]]

Place = tuple[str, str, str]  # what is scored, metric, label


def node_table(folders: Sequence[Path]) -> str:
    """Markdown: a row for each arm and what it is set against, a column for each metric and split; mean and sd.

    Raises:
        DataError: A folder is not called `<arm>-s<seed>`, or holds no scores.
    """
    found: dict[str, dict[Place, list[float]]] = {}
    for folder in folders:
        match = _RUN.fullmatch(folder.name)
        if match is None:
            raise DataError(f"{folder}: expected a run folder called <arm>-s<seed>, e.g. meow-acm-s1.")
        for place, value in _mean_over_cases(folder).items():
            found.setdefault(match.group(1), {}).setdefault(place, []).append(value)
    places = {(name, label) for values in found.values() for _, name, label in values}
    columns = sorted(places, key=lambda place: (_METRICS.index(place[0]), place[1]))
    heads = [metric(name).title + ("" if label == "all" else f" {label}") for name, label in columns]
    lines = ["| run | features | seeds | " + " | ".join(heads) + " |", "|---|---|---:|" + "---:|" * len(heads)]
    for arm, values in found.items():
        for scored in sorted({place[0] for place in values}, key=_ROWS.index):
            lists = [values.get((scored, *column), []) for column in columns]
            cells = " | ".join(_cell(numbers) for numbers in lists)
            lines.append(f"| {arm} | {scored} | {max(map(len, lists))} | {cells} |")
    return "\n".join(lines)


def _mean_over_cases(folder: Path) -> dict[Place, float]:
    """One number per place of a run: the mean over cases, and over seeds of fine-tuning."""
    values: dict[Place, list[float]] = {}
    for scored, scores in _scores(folder):
        for row in scores.rows:
            for key, value in row.items():
                for prefix, floor in _FLOORS.items():
                    name = key.removeprefix(prefix)
                    if key.startswith(prefix) and name in _METRICS and not (floor and scored != "trained"):
                        values.setdefault((floor or scored, name, row["label"]), []).append(value)
    if not values:
        raise DataError(f"{folder}: holds no scores of nodes. Did the run finish?")
    return {place: sum(numbers) / len(numbers) for place, numbers in values.items()}


def _scores(folder: Path) -> Iterator[tuple[str, Scores]]:
    """Everything a run scored, by what was scored."""
    for name, title in (("scores", "trained"), ("untrained", "untrained")):
        for path in sorted(folder.glob(f"*/{name}.json")):
            yield title, Scores.from_json(path)
    for path in sorted(folder.glob("*/*/scores.json")):
        match = _ARM_OF_COMPARE.fullmatch(path.parent.name)
        if match is not None:
            yield _ARMS[match.group(1)], Scores.from_json(path)


def _cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds; nothing for no value."""
    if not values:
        return ""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the run folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders called <arm>-s<seed>")
    folders = parser.parse_args(arguments).folders
    try:
        print(node_table(folders))
    except MedgraphError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
