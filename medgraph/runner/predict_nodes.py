"""Classes of the nodes of a graph by a fine-tuned model: a table with a row for each target."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from medgraph import config, files
from medgraph.errors import ConfigError
from medgraph.runner import terminal
from medgraph.runner.graph_fit import graph_of, keys_beside
from medgraph.runner.model import find_model, load_model, read_stored
from medgraph.runner.predict import TABLE, predict
from medgraph.runner.train import pick_device


def predict_cases_or_nodes(
    run: str | Path,
    images: str | Path | None,
    out: str | Path,
    *,
    model: str | None,
    changes: Sequence[str],
    device: str,
    **settings: Any,
) -> Path:
    """Predict cases, see `predict`, which takes the other settings, or the nodes of a graph, see `predict_nodes`.

    Raises:
        ConfigError: There are images for a model of a graph, or none for one of images, or settings of the other kind.
    """
    if not is_of_a_graph(run, model):
        if images is None:
            raise ConfigError("predict: a model of images needs IMAGES.")
        if changes:
            raise ConfigError("--data: is for models of graphs; IMAGES say what a model of images sees.")
        return predict(run, images, out, model=model, device=device, **settings)
    if images is not None:
        raise ConfigError("predict: a model of a graph takes no IMAGES.")
    wrong = [f"--{name.replace('_', '-')}" for name, value in settings.items() if name != "workers" and value]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: has no effect on a graph, whose table holds all probabilities.")
    return predict_nodes(run, out, model=model, changes=changes, device=device)


def is_of_a_graph(run: str | Path, model: str | None = None) -> bool:
    """Whether the fine-tuned model of a run classifies the nodes of a graph, rather than images."""
    return "target_type" in read_stored(find_model(Path(run), model)[0])["spec"]


def predict_nodes(
    run: str | Path, out: str | Path, *, model: str | None = None, changes: Sequence[str] = (), device: str = "auto"
) -> Path:
    """Write `predictions.csv`: number, key, class and the probability of each class of every target of the graph.

    The graph is the one trained on, or another one, as of `embed_nodes`. Its labels are not read. Of a graph that was
    read from tables, the target's key column stands beside the number.

    Args:
        run: A run folder, or the folder of a model in it.
        out: Folder to write to; made if absent.
        model: Which of several models of the run, as `finetune/pretrained-20-seed0`.
        changes: To the data part of the training, `graph_data.source.root=DIR`.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` already holds predictions; a change does not fit.
        DataError: The graph is not there, or does not fit the model.
    """
    out, console = Path(out), terminal.console()
    if (out / TABLE).exists():
        raise ConfigError(f"--out {out}: already holds {TABLE}; choose another folder.")
    folder, names = find_model(Path(run), model)
    if len(names) > 1 and model is None:
        console.print(f"taking {names[0]}; of {len(names)} models, --model names another: {', '.join(names[1:])}")
    stored, place = read_stored(folder), pick_device(device)
    node = config.with_changes(stored["data"], "data", changes, "data") if changes else stored["data"]
    data = graph_of(node, {**stored, "encoder": stored["method"]["encoder"]}, folder, is_other=bool(changes))
    method, classes = load_model(folder).method.to(place), stored["facts"]["classes"]
    shares = method.predict(data.views.to(place)).float().softmax(dim=1).cpu()
    keys = keys_beside(data.graph.keys, ("node", "class", *classes))
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / TABLE, keys, classes, shares)
    counts = shares.argmax(dim=1).bincount(minlength=len(classes)).tolist()
    told = ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    console.print(f"{len(shares)} nodes of type {data.graph.target_type}: {told} -> {out / TABLE}")
    return out


def _write_table(path: Path, keys: dict[str, Any], classes: Sequence[str], shares: torch.Tensor) -> None:
    chosen = shares.argmax(dim=1).tolist()
    with files.whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["node", *keys, "class", *classes])
        for number, row in enumerate(shares.tolist()):
            writer.writerow([number, *(names[number] for names in keys.values()), classes[chosen[number]], *row])
