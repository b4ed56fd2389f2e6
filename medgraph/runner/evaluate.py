"""Score a model on the test part of its data."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from medgraph import config
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import ConfigError
from medgraph.evaluation.scores import Scores
from medgraph.runner.export import load_encoder
from medgraph.runner.folder import RunFolder
from medgraph.runner.train import pick_device


def evaluate(node: dict[str, Any], model: Any, data: Any, path: Path, device: str) -> Scores:
    """Scores of `model` by the evaluator `node`, also written to `path`."""
    scores = config.build(node, "evaluators").evaluate(model, data, device=str(pick_device(device)))
    scores.to_json(path)
    return scores


def evaluate_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Score the encoder that an earlier stage exported."""
    if stage.evaluator["name"] == "segmentation":
        raise ConfigError(
            f"{stage.name}.evaluator: segmentation needs a fine-tuned model; an evaluate stage has an encoder alone. "
            "Name it in the train or compare stage that fine-tunes, or use linear_probe here."
        )
    model = SimpleNamespace(encoder=load_encoder(folder.encoder(stage.start_from)))
    data = config.build(stage.data, "data", seed=pipeline.seed)
    scores = evaluate(stage.evaluator, model, data, folder.stage(stage.name) / "scores.json", device)
    for name, value in scores.summary().items():
        console.print(f"  {name}: {value:.4f}")
