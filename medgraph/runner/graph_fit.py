"""Whether a graph is one that a graph encoder can embed, told before anything is computed."""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medgraph import config
from medgraph.data.fingerprint import identity, parts
from medgraph.data.spec import MetapathSpec, parts_of, spec_from_dict
from medgraph.errors import DataError
from medgraph.runner.encoder_folder import as_seen
from medgraph.runner.sees import graph_differences, used_types


def graph_facts(data: Any) -> dict[str, Any]:
    """What a network keeps of the graph that it was trained on, to tell another one and to name classes of targets.

    Of other data nothing.
    """
    if not hasattr(data, "graph"):
        return {}
    labelled = {"classes": list(data.graph.classes)} if hasattr(data, "graph_data") else {}
    return {"graph": identity(data), **labelled}


def graph_of(node: dict[str, Any], told: dict[str, Any], folder: Path, is_other: bool = False) -> Any:
    """The views that a network of a graph takes, as it saw them in training; labels are not read.

    Args:
        node: The data part.
        told: What is stored of the network, see `check_graph`.
        folder: Of the network, for messages.
        is_other: See `check_graph`.

    Raises:
        DataError: The graph is not there, or does not fit.
        CheckpointError: The facts of the network are damaged.
    """
    _check_place(node, folder, "")
    data = config.build(node, "data", seed=told["facts"]["seed"]).without_labels()
    check_graph(data, told, folder, is_other)
    return as_seen(data, told["facts"], folder)


def keys_beside(keys: Mapping[str, np.ndarray], taken: Collection[str]) -> dict[str, np.ndarray]:
    """The keys of targets by the names of their columns, which other columns of the table have `taken`."""
    return {f"{name}_key" if name in taken else name: values for name, values in keys.items()}


def check_graph(data: Any, told: dict[str, Any], folder: Path, is_other: bool = False) -> None:
    """Refuse a graph that an encoder cannot embed; warn where nodes are known by their number alone.

    Features that mean something in one graph alone (vectors of walks), and features of targets that an encoder keeps
    from its last training step, are those of the graph trained on.

    Args:
        data: Views of the graph.
        told: What is stored of the encoder: "encoder", its config; "spec", facts of the graph that it was built with;
            and "facts", what the run told.
        folder: Of the encoder, for messages.
        is_other: The data part is not the one of the training, so that the graph counts as another unless it is known
            to be the same.

    Raises:
        DataError: Types, widths, meta-paths or numbers of nodes differ, or such features would be taken of another
            graph.
    """
    then, now = spec_from_dict(told["spec"]), data.spec
    assert isinstance(then, MetapathSpec)
    wrong = graph_differences(then, now)
    if wrong:
        raise DataError(
            f"{folder}: the graph does not fit the encoder: {'; '.join(wrong)}. Embed a graph with the node types, "
            "columns and meta-paths of the one trained on, or train anew."
        )
    trained_on = told["facts"].get("graph")
    if not is_other and trained_on is None:  # an encoder of an earlier version
        return
    if trained_on is not None and trained_on == identity(data):
        return
    used = used_types(then)
    held = {name for part in parts(data) or [data] for name in part.source.bound_types}
    bound = [name for name in used if name in held]
    if bound:
        raise DataError(
            f"{folder}: features of {', '.join(bound)} are vectors of walks, which mean nothing in another graph than "
            "the one trained on, and this is another. Bring that graph back, or train anew."
        )
    if _keeps_features(told["encoder"]):
        raise DataError(
            f"{folder}: the encoder hands on the features of its last training step (extract: last_train_forward), "
            "which are those of the graph trained on, and this is another. Train anew with extract: clean."
        )
    one_hot = [name for name in used if not all(part.feature_dims[name] for part in parts_of(now))]
    if one_hot:
        warnings.warn(
            f"the graph is not the one trained on, and nodes of type {', '.join(one_hot)} have no features: the "
            "encoder knows them by their number. They have to be the same nodes in the same order.",
            stacklevel=2,
        )


def _keeps_features(node: dict[str, Any]) -> bool:
    inner = node.get("encoders") or ([node["encoder"]] if "encoder" in node else [])
    return node.get("extract") == "last_train_forward" or any(map(_keeps_features, inner))


def _check_place(node: dict[str, Any], folder: Path, path: str) -> None:
    """Raise DataError for files whose place is relative to a folder, and not to this one."""
    for key, value in node.items():
        if isinstance(value, dict):
            _check_place(value, folder, f"{path}{key}.")
        elif key in ("root", "path") and isinstance(value, str):
            place = Path(value).expanduser()
            if not place.is_absolute() and not place.exists():
                raise DataError(
                    f"{folder}: the graph lies in {value!r}, relative to the folder where training was started; from "
                    f"{Path.cwd()} it is not found. Start there, or name the place: --data {path}{key}=..."
                )
