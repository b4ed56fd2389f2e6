"""A train stage: one network, or several that are joined; scored where the stage names an evaluator."""

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.runner.begun import keep_to_cases
from medgraph.runner.evaluate import evaluate
from medgraph.runner.fitting import build_method, train_into
from medgraph.runner.folder import RunFolder
from medgraph.runner.members import train_members


def train_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Train a stage's method and export its encoder; score it on the test part when the stage names an evaluator."""
    start = folder.encoder(stage.start_from) if stage.start_from else None
    path = folder.stage(stage.name)
    data = config.build(stage.data, "data", seed=pipeline.seed)
    keep_to_cases(path, data)
    if stage.train.members > 1:
        train_members(path, stage, pipeline, data, start, device, console)
        return
    method = build_method(stage, data, pipeline.seed, start, console)
    train_into(path, stage, method, data, pipeline, pipeline.seed, device, console)
    if stage.evaluator is not None and processes.is_main():
        evaluate(stage.evaluator, method, data, path / "scores.json", device)
