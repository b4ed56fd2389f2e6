"""Features of the nodes of a graph by an encoder: a table with ids, and the same rows as a plain array."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medgraph import config
from medgraph.errors import ConfigError
from medgraph.runner import terminal
from medgraph.runner.embed import check_is_free, embed, find_encoder, write_features
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.graph_fit import graph_of, keys_beside
from medgraph.runner.train import pick_device


def embed_cases_or_nodes(
    run: str | Path,
    images: str | Path | None,
    out: str | Path,
    *,
    encoder: str | None,
    series: str | None,
    workers: int,
    changes: Sequence[str],
    device: str,
) -> Path:
    """Embed cases, see `embed`, or the nodes of a graph, see `embed_nodes`, as the encoder is.

    Raises:
        ConfigError: There are images, or a series, for an encoder of a graph, or no images for one of images.
    """
    if is_of_a_graph(run, encoder):
        if images is not None:
            raise ConfigError("embed: a graph encoder takes no IMAGES.")
        if series is not None:
            raise ConfigError("--series: has no effect on a graph. Leave it out.")
        return embed_nodes(run, out, encoder=encoder, changes=changes, device=device)
    if images is None:
        raise ConfigError("embed: the folder of an image encoder needs IMAGES.")
    settings: dict[str, Any] = {"series": series, "workers": workers, "changes": changes}
    return embed(run, images, out, encoder=encoder, device=device, **settings)


def is_of_a_graph(run: str | Path, encoder: str | None = None) -> bool:
    """Whether the encoder of a run embeds the nodes of a graph, rather than images."""
    return "target_type" in read_facts(find_encoder(Path(run), encoder))["spec"]


@torch.no_grad()
def embed_nodes(
    run: str | Path,
    out: str | Path,
    *,
    encoder: str | None = None,
    changes: Sequence[str] = (),
    device: str = "auto",
) -> Path:
    """Write `nodes.parquet` (node, embedding) and `nodes.npy`: one row for each target of the graph.

    The graph is the one trained on, or where `changes` name other files, another one with the same types, columns and
    meta-paths; its neighbors are chosen, and its bags of words weighed, by itself. Of tables, columns are encoded as in
    training: a category that did not come there gives zeros, which is noted, and numbers keep their scale. Labels and
    splits need not be there. The target's key column stands beside the number, as text. Both files are written, or
    none.

    Args:
        run: A run folder, or the folder of an encoder.
        out: Folder to write to; made if absent.
        encoder: Which of several encoders of the run: name of its stage.
        changes: To the data part of the training, `source.root=DIR`.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` already holds features; a change does not fit.
        DataError: The graph is not there, or does not fit the encoder.
    """
    out, folder = Path(out), find_encoder(Path(run), encoder)
    check_is_free(out, ("nodes",))
    told = read_facts(folder)
    facts: dict[str, Any] = told["facts"]
    place = pick_device(device)
    node = _changed(facts["data"], changes)
    data = graph_of(node, told, folder, is_other=bool(changes))
    views = data.views.to(place)
    features = load_encoder(folder).to(place)(views).float().cpu().numpy()
    named = keys_beside(data.graph.keys, ("embedding",))
    write_features(out, {"nodes": ({"node": np.arange(len(features)), **named}, features)})
    console = terminal.console()
    console.print(f"{len(features)} nodes of type {views.target_type}, {features.shape[1]} numbers each -> {out}")
    return out


def _changed(node: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The data part with the changes, of joined ones each part."""
    if node["name"] == "joined_views":
        return {**node, "data": [_changed(part, changes) for part in node["data"]]}
    return config.with_changes(node, "data", changes, "data") if changes else node
