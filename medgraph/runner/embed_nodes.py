"""Features of the nodes of a graph by an encoder: a table with ids, and the same rows as a plain array."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from medgraph import config
from medgraph.errors import ConfigError
from medgraph.runner.embed import find_encoder, write_features
from medgraph.runner.encoder_folder import as_seen, read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.train import pick_device


def is_of_a_graph(run: str | Path, encoder: str | None = None) -> bool:
    """Whether the encoder of a run embeds the nodes of a graph, rather than images."""
    return "target_type" in read_facts(find_encoder(Path(run), encoder))["spec"]


@torch.no_grad()
def embed_nodes(run: str | Path, out: str | Path, *, encoder: str | None = None, device: str = "auto") -> Path:
    """Write `nodes.parquet` (node, embedding) and `nodes.npy`: one row for each target of the graph trained on.

    Of a graph that was read from tables, the target's key column stands beside the number, as text. Both files are
    written, or none.

    Args:
        run: A run folder, or the folder of an encoder.
        out: Folder to write to; made if absent.
        encoder: Which of several encoders of the run: name of its stage.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` already holds features.
    """
    out, folder = Path(out), find_encoder(Path(run), encoder)
    present = [path.name for path in sorted(out.glob("nodes.*"))]
    if present:
        raise ConfigError(f"--out {out}: already holds {', '.join(present)}; choose another folder.")
    facts: dict[str, Any] = read_facts(folder)["facts"]
    place = pick_device(device)
    data = as_seen(config.build(facts["data"], "data", seed=facts["seed"]), folder)
    views = data.train().views.to(place)
    features = load_encoder(folder).to(place)(views).float().cpu().numpy()
    named = {f"{name}_key" if name == "embedding" else name: keys for name, keys in data.graph.keys.items()}
    write_features(out, {"nodes": ({"node": np.arange(len(features)), **named}, features)})
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(features)} nodes of type {views.target_type}, {features.shape[1]} numbers each -> {out}")
    return out
