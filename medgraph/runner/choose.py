"""A train stage with candidates: train each, score it on validation, keep the best."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import DataError
from medgraph.runner import checkpoint
from medgraph.runner.begun import keep_to_cases
from medgraph.runner.encoder_folder import FACTS, read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.fitting import train_into
from medgraph.runner.folder import RunFolder
from medgraph.runner.kept import keep_better, told
from medgraph.runner.members import train_members
from medgraph.runner.train import pick_device

CHOICE = "choice.json"
_FIGURE = "validation.json"  # of a candidate's folder; comes last


def choose_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Train every candidate of a stage from the same start and seed; its encoder is that of the best on validation.

    Where the best has several members, its further ones are trained then. Under `choose.join` the networks of the
    others are put beside them, and under `choose.smooth` features averaged over neighbors, if that scores higher.
    Writes `choice.json`: the best candidate, the figure of each, that of the members together ("joined"), and those of
    what else was made of the networks ("made"). What is finished is not trained again.
    """
    path = folder.stage(stage.name)
    start = folder.encoder(stage.start_from) if stage.start_from else None
    evaluator = config.build(stage.choose.evaluator, "evaluators", seed=pipeline.seed)
    _check(path, stage, pipeline, evaluator)
    for name, candidate in stage.candidates.items():
        if processes.from_main((path / name / _FIGURE).exists()):
            console.print(f"  {name}: finished before, skipped")
            continue
        console.print(f"  {name}")
        _train(path / name, candidate, pipeline, start, evaluator, device, console)
        processes.wait()
    choice = processes.from_main(_best(path, list(stage.candidates)) if processes.is_main() else None)
    best, kept = path / choice["best"], stage.candidates[choice["best"]]
    if kept.train.members > 1:
        data = config.build(kept.data, "data", seed=pipeline.seed)
        train_members(path, kept, pipeline, data, start, device, console, first=best)
        if processes.is_main():
            joined = SimpleNamespace(encoder=load_encoder(path / "encoder"))
            choice["joined"] = evaluator.validate(joined, data, device=str(pick_device(device)))
    elif processes.is_main():
        _copy(best, path)
    if processes.is_main():
        keep_better(path, stage, choice, pipeline.seed, evaluator, str(pick_device(device)))
        checkpoint.write_json(path / CHOICE, choice)
        facts = read_facts(path / "encoder")
        checkpoint.write_json(path / "encoder" / FACTS, {**facts, "facts": {**facts["facts"], "choice": choice}})
        console.print(f"  {told(choice)}")


def _check(path: Path, stage: Stage, pipeline: Pipeline, evaluator: Any) -> None:
    """Raise DataError for other cases than the stage began with, or such as cannot be scored: now, not after hours."""
    data = config.build(stage.data, "data", seed=pipeline.seed)
    keep_to_cases(path, data)
    try:
        evaluator.check(data)
    except DataError as error:
        raise DataError(
            f"{error} Or train the stage as it stands, without a choice: {stage.name}.choose=null"
        ) from error


def _train(
    path: Path, stage: Stage, pipeline: Pipeline, start: Path | None, evaluator: Any, device: str, console: Console
) -> None:
    """Train one candidate in the folder `path`; its figure comes last. Nothing of it stays in memory."""
    data = config.build(stage.data, "data", seed=pipeline.seed)
    method = train_into(path, stage, data, start, pipeline, pipeline.seed, device, console)
    if processes.is_main():
        figure = evaluator.validate(method, data, device=str(pick_device(device)))
        checkpoint.write_json(path / _FIGURE, {"figure": figure})


def read_choice(path: Path) -> dict[str, Any]:
    """What `choose_stage` left in a stage's folder. Raises CheckpointError."""
    advice = "Remove it and done.json beside it, and go on with the run by --resume."
    return checkpoint.read_json(path / CHOICE, {"best": str, "validation": dict}, advice)


def _best(path: Path, names: list[str]) -> dict[str, Any]:
    """The candidate with the highest figure, the first of equals, and all figures. Raises CheckpointError."""
    advice = "Remove it, and go on with the run by --resume."
    figures = {n: checkpoint.read_json(path / n / _FIGURE, {"figure": float}, advice)["figure"] for n in names}
    return {"best": max(names, key=lambda name: figures[name]), "validation": figures}


def _copy(best: Path, path: Path) -> None:
    """Copy what the best candidate left to where that of a stage lies, each folder whole or not at all."""
    for kind in ("encoder", "model"):
        if not (best / kind).exists():
            continue
        half, whole = path / f".{kind}.half", path / kind
        for folder in (half, whole):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(best / kind, half)
        half.rename(whole)
