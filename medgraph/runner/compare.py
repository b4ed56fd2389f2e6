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
from medgraph.runner.stage import build_method, fit

ARMS = ("pretrained", "from scratch")
METRICS = ("dice", "hd95")


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

    The difference is pretrained minus from scratch, per test volume, averaged over seeds first; the interval is a 95 %
    bootstrap over volumes.
    """
    rows = []
    for num_labelled in stage.compare.num_labelled:
        values = {arm: _mean_over_seeds(stage, path, arm, num_labelled, pipeline_seed) for arm in ARMS}
        labels = sorted({label for _, label in values[ARMS[0]]})
        for label in [*labels, "mean"]:
            for metric in METRICS:
                first, second = (_per_case(values[arm], label, metric) for arm in ARMS)
                cases = sorted(first)
                a, b = [first[c] for c in cases], [second[c] for c in cases]
                rows.append(
                    {
                        "num_labelled": num_labelled,
                        "label": label,
                        "metric": metric,
                        "pretrained": sum(a) / len(a),
                        "from_scratch": sum(b) / len(b),
                        "difference": asdict(paired_difference(a, b, seed=0)),
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
    fit(stage, method, data, seed, path, device, title)
    facts = {"stage": stage.name, "arm": arm, "num_labelled": num_labelled, "seed": seed, "pipeline": pipeline.name}
    export_encoder(path / "encoder", method.encoder, stage.method["encoder"], data.spec, facts)
    evaluate(stage.evaluator, method, data, path / "scores.json", device)


def _mean_over_seeds(
    stage: Stage, path: Path, arm: str, num_labelled: int, pipeline_seed: int
) -> dict[tuple[str, str], dict[str, float]]:
    """(case, label) -> metric -> mean over seeds."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    seeds = stage.compare.seeds
    for seed in seeds:
        scores = Scores.from_json(arm_folder(path, arm, num_labelled, pipeline_seed + seed) / "scores.json")
        for row in scores.rows:
            cell = sums.setdefault((row["case"], row["label"]), dict.fromkeys(METRICS, 0.0))
            for metric in METRICS:
                cell[metric] += row[metric] / len(seeds)
    return sums


def _per_case(values: dict[tuple[str, str], dict[str, float]], label: str, metric: str) -> dict[str, float]:
    """Metric per case of one label; of "mean", averaged over labels."""
    cases: dict[str, list[float]] = {}
    for (case, other), cell in values.items():
        if label in ("mean", other):
            cases.setdefault(case, []).append(cell[metric])
    return {case: sum(cell) / len(cell) for case, cell in cases.items()}
