"""The verdict: the same fine-tuning from the pre-trained encoder and from scratch, on the same seeds and labels."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph.config.schema import Pipeline, Stage
from medgraph.evaluation.bootstrap import paired_difference
from medgraph.evaluation.scores import Scores
from medgraph.runner import checkpoint
from medgraph.runner.evaluate import evaluate
from medgraph.runner.export import export_encoder
from medgraph.runner.folder import RunFolder
from medgraph.runner.model import export_model
from medgraph.runner.stage import build_method, fit

ARMS = ("pretrained", "from scratch")


def compare_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Fine-tune both arms for each number of labelled volumes and each seed; write every score and the table.

    Both arms share data, seeds, order of batches, augmentation and length; only the encoder's first weights differ.
    An arm that is finished is not run again.
    """
    path = folder.stage(stage.name)
    for num_labelled in stage.compare.num_labelled:
        for seed in stage.compare.seeds:
            for arm in ARMS:
                _run_arm(stage, pipeline, folder, arm, num_labelled, pipeline.seed + seed, device, console)
    rows = table(stage, path, pipeline.seed)
    checkpoint.write_json(path / "table.json", rows)


def arm_folder(path: Path, arm: str, num_labelled: int, seed: int) -> Path:
    """Where one fine-tuning of a compare stage lies."""
    return path / f"{arm.replace(' ', '-')}-{num_labelled}-seed{seed}"


def table(stage: Stage, path: Path, pipeline_seed: int) -> list[dict[str, Any]]:
    """One row per number of labels, class label and metric: mean of each arm, paired difference with its interval.

    The difference is pretrained minus from scratch, per test case, averaged over seeds first; the interval is a 95 %
    bootstrap over cases. Where an evaluator gives one figure for the whole test part, seeds are paired instead.
    """
    rows = []
    for num_labelled in stage.compare.num_labelled:
        scores = {arm: _scores(stage, path, arm, num_labelled, pipeline_seed) for arm in ARMS}
        first = scores[ARMS[0]][0]
        labels = sorted({row["label"] for row in first.rows})
        for label in [*labels, "mean"] if len(labels) > 1 else labels:
            for name in first.metrics():
                a, b = (_per_unit(scores[arm], label, name) for arm in ARMS)
                units = [unit for unit in a if unit in b]
                if not units:
                    continue  # a metric that this label does not have
                left, right = [a[unit] for unit in units], [b[unit] for unit in units]
                rows.append(
                    {
                        "num_labelled": num_labelled,
                        "label": label,
                        "metric": name,
                        "pretrained": sum(left) / len(left),
                        "from_scratch": sum(right) / len(right),
                        "difference": asdict(paired_difference(left, right, seed=0)),
                        "over": "seeds" if len({row["case"] for row in first.rows}) == 1 else "cases",
                        "chief": name == first.metrics()[0] and label == (labels[0] if len(labels) == 1 else "mean"),
                    }
                )
    return rows


def _run_arm(
    stage: Stage,
    pipeline: Pipeline,
    folder: RunFolder,
    arm: str,
    num_labelled: int,
    seed: int,
    device: str,
    console: Console,
) -> None:
    path = arm_folder(folder.stage(stage.name), arm, num_labelled, seed)
    title = f"{arm}, {num_labelled} labelled, seed {seed}"
    if (path / "scores.json").exists():
        console.print(f"  {title}: finished before, skipped")
        return
    console.print(f"  {title}")
    start = folder.encoder(stage.start_from) if arm == ARMS[0] else None
    method, data = build_method(stage, {**stage.data, "num_labelled": num_labelled}, seed, start, console)
    fit(stage, method, data, seed, path, device, title, console)
    facts = {"stage": stage.name, "arm": arm, "num_labelled": num_labelled, "seed": seed, "pipeline": pipeline.name}
    facts |= {"method": stage.method, "data": stage.data}
    export_encoder(path / "encoder", method.encoder, stage.method["encoder"], data.spec, facts)
    export_model(path / "model", method, stage, data.spec, facts)
    evaluate(stage.evaluator, method, data, path / "scores.json", device)


def _scores(stage: Stage, path: Path, arm: str, num_labelled: int, pipeline_seed: int) -> list[Scores]:
    """What one arm scored, by seed."""
    seeds = [pipeline_seed + seed for seed in stage.compare.seeds]
    return [Scores.from_json(arm_folder(path, arm, num_labelled, seed) / "scores.json") for seed in seeds]


def _per_unit(scores: list[Scores], label: str, name: str) -> dict[Any, float]:
    """Metric of one label, of "mean" averaged over labels: per case, over seeds; of a single case, per seed."""
    found: dict[Any, list[float]] = {}
    single = len({row["case"] for row in scores[0].rows}) == 1
    for number, one in enumerate(scores):
        for row in one.rows:
            if label in ("mean", row["label"]) and name in row:
                found.setdefault(number if single else row["case"], []).append(row[name])
    return {unit: sum(values) / len(values) for unit, values in found.items()}
