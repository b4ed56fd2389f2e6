"""Score a model on the test part of its data."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from medgraph import config
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import ConfigError
from medgraph.evaluation.paired import paired_rows, resampled_rows, told
from medgraph.evaluation.scores import Scores, metric
from medgraph.runner import checkpoint
from medgraph.runner.encoder_folder import as_seen, read_facts
from medgraph.runner.export import load_encoder, untrained
from medgraph.runner.folder import RunFolder
from medgraph.runner.graph_fit import check_graph
from medgraph.runner.sees import warn_if_laid_otherwise
from medgraph.runner.train import pick_device

_OF_MODELS = {  # and what scores an encoder instead
    "segmentation": "linear_probe",
    "classification": "logistic_probe",
    "regression": "ridge_probe",
    "node_classifier": "node_probe",
}


def evaluate(node: dict[str, Any], model: Any, data: Any, path: Path, device: str) -> Scores:
    """Scores of `model` by the evaluator `node`, also written to `path`."""
    scores = config.build(node, "evaluators").evaluate(model, data, device=str(pick_device(device)))
    scores.to_json(path)
    return scores


def evaluate_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Score the encoder that an earlier stage exported, and beside it the same network before any training.

    The difference is paired over test cases, or over drawn-again subjects of scores that hold such, with its 95 %
    interval. Of the latter only scores are compared, row by row: rows are unlike things, of which no mean is taken.
    """
    name = stage.evaluator["name"]
    if name in _OF_MODELS:
        raise ConfigError(
            f"{stage.name}.evaluator: {name} needs a fine-tuned model; an evaluate stage has an encoder alone. "
            f"Name it in the train or compare stage that fine-tunes, or use {_OF_MODELS[name]} here."
        )
    encoder, path = folder.encoder(stage.start_from), folder.stage(stage.name)
    node, stored = _data_of(stage, pipeline, folder), read_facts(encoder)
    warn_if_laid_otherwise(encoder, stored["facts"].get("data"), node)
    data = config.build(node, "data", seed=pipeline.seed)
    if hasattr(data, "of_member"):
        check_graph(data, stored, encoder)
        data = as_seen(data, stored["facts"], encoder)
    arms = {"scores": load_encoder(encoder), "untrained": untrained(encoder, pipeline.seed)}
    found = {
        name: evaluate(stage.evaluator, SimpleNamespace(encoder=arm), data, path / f"{name}.json", device)
        for name, arm in arms.items()
    }
    if found["scores"].resampled:
        rows = resampled_rows(found["scores"], found["untrained"])
    else:
        rows = paired_rows([found["scores"]], [found["untrained"]])
    checkpoint.write_json(path / "paired.json", rows)
    console.print("  trained, against the same network untrained:")
    for row in rows:
        what = f"{row['case']}, {row['label']}" if "case" in row else f"{row['label']}, {metric(row['metric']).title}"
        difference = told(row["difference"], 4)
        console.print(f"  {what}: {row['first']:.4f}, {row['second']:.4f}, {difference}")
    for what, value in found["scores"].summary().items():
        if " floor_" in what and what.startswith("mean ") and not what.endswith("_std"):
            console.print(f"  mean, {metric(what.removeprefix('mean ')).title}: {value:.4f}, which needs no learning")


def _data_of(stage: Stage, pipeline: Pipeline, folder: RunFolder) -> Any:
    """The data part that an evaluate stage scores on: of a chosen encoder, unless it names its own, what that saw."""
    start = pipeline.stages.get(stage.start_from)
    if start is None or start.choose is None or stage.data != start.data:
        return stage.data
    return read_facts(folder.encoder(start.name))["facts"]["data"]
