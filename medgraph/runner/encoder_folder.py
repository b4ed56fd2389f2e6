"""The folder of an exported encoder: names of its files, and the facts beside the weights."""

from pathlib import Path
from typing import Any

from medgraph.data.spec import as_stored
from medgraph.errors import CheckpointError
from medgraph.runner import checkpoint

WEIGHTS, FACTS = "encoder.safetensors", "encoder.json"
HF_WEIGHTS, HF_FACTS = "model.safetensors", "config.json"


def weights_file(folder: Path) -> Path:
    """The weights of an encoder's folder, under the name that a run gives them or under Hugging Face's."""
    return folder / (HF_WEIGHTS if _is_hf(folder) else WEIGHTS)


def read_facts(folder: Path) -> dict[str, Any]:
    """The JSON beside an exported encoder's weights. Raises CheckpointError."""
    path = folder / (HF_FACTS if _is_hf(folder) else FACTS)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; expected the folder `encoder/` that a train stage writes.")
    keys = {"encoder": dict, "spec": dict, "facts": dict}
    stored = checkpoint.read_json(path, keys, "Export the encoder again, or take its folder from a copy of the run.")
    if "data" in stored["facts"]:
        stored["facts"]["data"] = as_stored(stored["facts"]["data"])
    return stored


def as_seen(data: Any, facts: dict[str, Any], folder: Path) -> Any:
    """Data of a graph as a network saw them: as one of several, with masks of its own.

    Args:
        data: The data part.
        facts: What its run told of the network.
        folder: Of the network, for messages.

    Raises:
        CheckpointError: The facts are damaged.
    """
    if not hasattr(data, "of_member"):
        return data
    member = facts.get("member", 0)
    if type(member) is not int or member < 0:
        raise CheckpointError(f"{folder}: member is {member!r}, expected a number from 0. Export it again.")
    return data.of_member(member)


def _is_hf(folder: Path) -> bool:
    return (folder / HF_FACTS).exists() and not (folder / FACTS).exists()
