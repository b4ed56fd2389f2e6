"""A train stage with candidates: train each, score it on validation, keep the best."""

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.runner import checkpoint
from medgraph.runner.begun import keep_to_cases
from medgraph.runner.encoder_folder import FACTS, read_facts
from medgraph.runner.folder import RunFolder
from medgraph.runner.stage import build_method, train_into
from medgraph.runner.train import pick_device

CHOICE = "choice.json"


def choose_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Train every candidate of a stage from the same start and seed; its encoder is that of the best on validation.

    Writes `choice.json`: the best candidate, and the figure of each. A candidate that is finished is not run again.
    """
    path = folder.stage(stage.name)
    start = folder.encoder(stage.start_from) if stage.start_from else None
    evaluator = config.build(stage.choose.evaluator, "evaluators", seed=pipeline.seed)
    _check(path, stage, pipeline, evaluator)
    for name, candidate in stage.candidates.items():
        if processes.from_main((path / name / "validation.json").exists()):
            console.print(f"  {name}: finished before, skipped")
            continue
        console.print(f"  {name}")
        _train(path / name, candidate, pipeline, start, evaluator, device, console)
        processes.wait()
    if processes.is_main():
        _keep_best(path, list(stage.candidates), console)


def _check(path: Path, stage: Stage, pipeline: Pipeline, evaluator: Any) -> None:
    """Raise DataError for other cases than the stage began with, or such as cannot be scored: now, not after hours."""
    data = config.build(stage.data, "data", seed=pipeline.seed)
    keep_to_cases(path, data)
    evaluator.check(data)


def _train(
    path: Path, stage: Stage, pipeline: Pipeline, start: Path | None, evaluator: Any, device: str, console: Console
) -> None:
    """Train one candidate in the folder `path`; its figure comes last. Nothing of it stays in memory."""
    method, data = build_method(stage, stage.data, pipeline.seed, start, console)
    train_into(path, stage, method, data, pipeline, device, console)
    if processes.is_main():
        figure = evaluator.validate(method, data, device=str(pick_device(device)))
        checkpoint.write_json(path / "validation.json", {"figure": figure})


def read_choice(path: Path) -> dict[str, Any]:
    """What `choose_stage` left in a stage's folder. Raises CheckpointError."""
    advice = "Remove it and done.json beside it, and go on with the run by --resume."
    return checkpoint.read_json(path / CHOICE, {"best": str, "validation": dict}, advice)


def told(choice: dict[str, Any]) -> str:
    """The choice in words."""
    best, figures = choice["best"], choice["validation"]
    others = ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items() if name != best)
    return f"{best} is kept, with {figures[best]:.2f} on validation; {others}"


def _keep_best(path: Path, names: list[str], console: Console) -> None:
    """Copy what the best candidate left to where that of a stage lies, each folder whole or not at all."""
    advice = "Remove it, and go on with the run by --resume."
    figures = {
        n: checkpoint.read_json(path / n / "validation.json", {"figure": float}, advice)["figure"] for n in names
    }
    best = max(names, key=lambda name: figures[name])
    choice = {"best": best, "validation": figures}
    checkpoint.write_json(path / CHOICE, choice)
    for kind in ("encoder", "model"):
        source = path / best / kind
        if not source.exists():
            continue
        half, whole = path / f".{kind}.half", path / kind
        for folder in (half, whole):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, half)
        if kind == "encoder":
            facts = read_facts(half)
            checkpoint.write_json(half / FACTS, {**facts, "facts": {**facts["facts"], "choice": choice}})
        half.rename(whole)
    console.print(f"  {told(choice)}")
