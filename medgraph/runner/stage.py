"""A train stage: one network, or several that are joined; scored where the stage names an evaluator."""

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.runner.begun import keep_to_cases
from medgraph.runner.evaluate import evaluate
from medgraph.runner.fitting import train_into
from medgraph.runner.folder import RunFolder
from medgraph.runner.members import train_members
from medgraph.runner.model import load_model


def train_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Train a stage's method and export its encoder; score it on the test part when the stage names an evaluator."""
    start = folder.encoder(stage.start_from) if stage.start_from else None
    path = folder.stage(stage.name)
    data = config.build(stage.data, "data", seed=pipeline.seed)
    keep_to_cases(path, data)
    is_scored = stage.evaluator is not None and processes.is_main()
    if stage.train.members > 1:
        train_members(path, stage, pipeline, data, start, device, console)
        model = load_model(path / "model").method if is_scored else None
    else:
        model = train_into(path, stage, data, start, pipeline, pipeline.seed, device, console)
    if is_scored:
        evaluate(stage.evaluator, model, data, path / "scores.json", device)
