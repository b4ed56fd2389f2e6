"""Pipelines on a planted graph whose first stage trains candidates, and the stage that fine-tunes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import medgraph
from medgraph.runner import checkpoint
from medgraph.runner.embed_nodes import embed_nodes

SOURCE = "{name: planted_graph, num_targets: 150}"
_PIPELINE = """
name: choosing
seed: 3
stages:
  pretrain:
    config:
      kind: train
      data: {name: metapath_views, source: SOURCE, top_k: [20]}
      method:
        name: meow
        encoder: {ENCODER}
        loss: {name: info_nce}
        prototype_weight: 0.0
        num_clusters: [1]
        embedding_dim: 16
      train: {epochs: EPOCHS, batch_size: 1, optimizer: {name: adam, lr: 0.005}, schedule: {name: constant}}
      choose:
        evaluator: {name: node_probe, num_probes: 3, num_steps: 40}
        CHOICE
  probe:
    start_from: pretrain
    config: {kind: evaluate, evaluator: {name: node_probe, num_probes: 3, num_steps: 40}}
"""
_FINETUNE = """
  finetune:
    start_from: pretrain
    config:
      kind: train
      data: {name: labelled_nodes, graph_data: {name: metapath_views, source: SOURCE}}
      method: {name: node_classification, encoder: {ENCODER}}
      train: {epochs: 1, batch_size: 1, optimizer: {name: adam}, schedule: {name: constant}}
"""


def choosing(encoder: str, epochs: int, choice: str, finetune: bool = False) -> str:
    """YAML of a pipeline that chooses, and scores what it has chosen.

    Args:
        encoder: In YAML, without braces.
        epochs: Of each candidate.
        choice: Lines below `choose`, beside its evaluator.
        finetune: Also fine-tune from what is chosen.
    """
    lines = "\n        ".join(choice.strip().splitlines())
    text = _PIPELINE.replace("CHOICE", lines).replace("EPOCHS", str(epochs)) + (_FINETUNE if finetune else "")
    return text.replace("SOURCE", SOURCE).replace("ENCODER", encoder)


def chosen_anew(finished: Path, run: Path, figure: float) -> tuple[Path, dict[str, Any]]:
    """Stage and choice of the run with another figure of every candidate, of which the first is then the best."""
    shutil.copytree(finished, run)
    for path in (run / "pretrain").glob("*/validation.json"):
        checkpoint.write_json(path, {"figure": figure})
    for stage in ("pretrain", "probe"):
        (run / stage / "done.json").unlink()
    medgraph.run(run / "pipeline.yaml", out=run, resume=True, device="cpu")
    return run / "pretrain", json.loads((run / "pretrain" / "choice.json").read_text())


def embedded(folder: Path, out: Path, **arguments: Any) -> np.ndarray:
    """What an encoder gives to each target."""
    embed_nodes(folder, out, device="cpu", **arguments)
    return np.load(out / "nodes.npy")
