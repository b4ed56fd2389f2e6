"""Fine-tuned models, arm by arm: `python -m medgraph.evaluation.compare_table runs/swav runs/joint`.

Each folder is a run, or one compare stage of it. A row says how an arm did with so many labelled cases, over its
seeds, and what it gained over the same training from scratch: the mean over test cases, with its 95 % interval.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medgraph.data.label_counts import labelled_words
from medgraph.errors import DataError, MedgraphError
from medgraph.evaluation.paired import paired_rows, told
from medgraph.evaluation.scores import Scores
from medgraph.evaluation.scores import metric as shown

_ARM = re.compile(r"(pretrained|foreign|from-scratch)-(all|\d+|\d[\d.]*(?:e-\d+)?)-seed(\d+)")
_SCRATCH = "from scratch"

Seeds = Mapping[int, Scores]  # what one arm scored with so many labels, by seed
Count = int | float | str  # of labelled volumes, their share, or "all"


def compare_table(
    folders: Sequence[Path], against: str | None = None, merge: bool = False, metric: str = "dice"
) -> str:
    """Markdown: a row for each number of labelled cases and arm.

    Args:
        folders: Run folders, or folders of compare stages in them.
        against: Name of an arm, as the table prints it, that every other is also set against.
        merge: Take the runs as one pipeline at several seeds: stages of one name are one arm.
        metric: Which figure of the scores, e.g. "auc"; stages without it are left out.

    Raises:
        DataError: A folder holds no finished arm with that metric, there is no arm called `against`, or merged runs
            share a seed.
    """
    arms: dict[str, Mapping[Count, Seeds]] = {}
    twins: dict[str, Mapping[Count, Seeds]] = {}
    for stage in (stage for folder in folders for stage in _stages(folder, metric)):
        name = stage.name if merge else f"{stage.parent.name}/{stage.name}"
        scored = _read(stage, metric)
        for arm, kind in ((name, "pretrained"), (f"{name}, foreign", "foreign")):
            if kind == "pretrained" or kind in scored:
                arms[arm] = _united(arms.get(arm, {}), scored.get(kind, {}), stage)
                twins[arm] = _united(twins.get(arm, {}), scored.get("from-scratch", {}), stage)
    if against is not None and against not in arms:
        raise DataError(f"--against {against}: no such arm. There are: {', '.join(arms)}.")
    scored_seeds = [seeds for found in (*arms.values(), *twins.values()) for seeds in found.values()]
    if not scored_seeds:
        raise DataError("folders: got none, expected the folder of a run or compare stage.")
    labels = sorted({row["label"] for seeds in scored_seeds for scores in seeds.values() for row in scores.rows})
    heads = ["labelled", "arm", "seeds", f"mean {shown(metric).title}", *labels, f"minus {_SCRATCH}"]
    heads += [] if against is None else [f"minus {against}"]
    lines = [f"| {' | '.join(heads)} |", "|---:|---|---:|" + "---:|" * (len(heads) - 3)]
    for count in sorted({count for found in (*arms.values(), *twins.values()) for count in found}, key=_order):
        lines += _twin_rows(count, twins, labels, metric, against is not None)
        for name, found in arms.items():
            if count in found:
                cells = [labelled_words(count), name, *_figures(found[count], labels, metric)]
                cells.append(_difference(found[count], twins[name].get(count, {}), metric))
                if against is not None:
                    other = arms[against].get(count, {})
                    cells.append("" if name == against else _difference(found[count], other, metric))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _stages(folder: Path, metric: str) -> list[Path]:
    """Folders of compare stages: this one, or those in it."""
    found = [path for path in (folder.resolve(), *sorted(folder.resolve().glob("*/"))) if _read(path, metric)]
    if not found:
        raise DataError(
            f"{folder}: holds no fine-tuned model with {metric!r} among its scores, expected the folder of a run or "
            "compare stage; another figure by --metric."
        )
    return found


def _united(first: Mapping[Count, Seeds], second: Mapping[Count, Seeds], stage: Path) -> Mapping[Count, Seeds]:
    """The seeds of both, for every number of labels."""
    for count in first.keys() & second.keys():
        if shared := first[count].keys() & second[count].keys():
            raise DataError(
                f"{stage}: seed {min(shared)} with {labelled_words(count)} labelled was read before, expected runs of "
                "different seeds to merge; run the pipeline again with another seed=..."
            )
    return {count: {**first.get(count, {}), **second.get(count, {})} for count in (*first, *second)}


def _read(stage: Path, metric: str) -> Mapping[str, Mapping[Count, Seeds]]:
    """Scores of a compare stage by arm, number of labels and seed."""
    found: dict[str, dict[Count, dict[int, Scores]]] = {}
    for path in sorted(stage.glob("*-seed*/scores.json")):
        match = _ARM.fullmatch(path.parent.name)
        if match is not None:
            scores = Scores.from_json(path)
            if metric in scores.metrics():
                found.setdefault(match[1], {}).setdefault(_count(match[2]), {})[int(match[3])] = scores
    return found


def _count(word: str) -> Count:
    return word if word == "all" else int(word) if word.isdecimal() else float(word)


def _order(count: Count) -> float:
    """Shares come first, as one does not know of how many; all come last."""
    return float("inf") if isinstance(count, str) else count


def _twin_rows(
    count: Count, twins: Mapping[str, Mapping[Count, Seeds]], labels: Sequence[str], metric: str, wide: bool
) -> list[str]:
    """A row for each training from scratch that differs from those of other stages."""
    rows: dict[tuple[str, ...], None] = {}
    for found in twins.values():
        if count in found:
            rows[labelled_words(count), _SCRATCH, *_figures(found[count], labels, metric)] = None
    return [f"| {' | '.join(row)} | |{' |' if wide else ''}" for row in rows]


def _figures(found: Seeds, labels: Sequence[str], metric: str) -> list[str]:
    """Number of seeds, and the metric: mean over labels, then label by label, if there is one; over seeds and cases."""
    summaries = [scores.summary() for scores in found.values()]
    keys = [f"{label} {metric}" for label in ("mean", *labels)]
    figures = [[summary[key] for summary in summaries if key in summary] for key in keys]
    return [str(len(summaries)), *(f"{sum(values) / len(values):.3f}" if values else "" for values in figures)]


def _difference(first: Seeds, second: Seeds, metric: str) -> str:
    """Paired over the cases that both have, of the seeds that both have; nothing where they share none."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return ""
    rows = paired_rows([first[seed] for seed in seeds], [second[seed] for seed in seeds])
    wanted = [row["difference"] for row in rows if row["metric"] == metric]  # the last of all labels
    return told(wanted[-1], 3) if wanted else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, or compare stages in them")
    parser.add_argument("--against", metavar="RUN/STAGE", help="an arm that every other is also set against")
    parser.add_argument("--merge", action="store_true", help="the runs are one pipeline at several seeds")
    parser.add_argument("--metric", default="dice", help="which figure of the scores, e.g. auc")
    options = parser.parse_args(arguments)
    try:
        print(compare_table(options.folders, options.against, options.merge, options.metric))
    except MedgraphError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
