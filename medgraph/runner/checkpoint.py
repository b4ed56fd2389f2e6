"""Everything a run needs to go on after it was killed, in one file that is replaced in one move, and one that stays.

The only importer of safetensors. No pickles: tensors are stored flat by name, everything else as JSON beside them.
"""

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medgraph import files
from medgraph.errors import CheckpointError

FILE = "checkpoint.safetensors"
CONSTANTS = "constants.safetensors"  # what no step changes, beside it


@dataclass(frozen=True)
class Position:
    """Where training stands.

    Attributes:
        epoch: Epochs finished.
        batch: Batches finished of the next epoch.
        step: Optimiser steps taken.
        losses: Losses of the steps taken in the next epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: tuple[float, ...] = ()


def save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    average: dict[str, Tensor] | None = None,
) -> None:
    """Write model, optimiser, position and the average of the weights, replacing the last checkpoint in one move.

    The `constants` of a model (see `Method`) are written with the first checkpoint of a folder alone.
    """
    own = model.state_dict()
    constants = {name: own.pop(name) for name in getattr(model, "constants", ())}
    if constants and not (folder / FILE).exists():
        write_tensors(folder / CONSTANTS, constants, {})
    tensors = {f"model.{name}": value for name, value in own.items()}
    tensors |= {f"average.{name}": value for name, value in (average or {}).items()}
    plain: dict[str, dict[str, Any]] = {}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    facts = {"position": asdict(position), "groups": state["param_groups"], "plain": plain}
    write_tensors(folder / FILE, tensors, {"facts": json.dumps(facts)})


def restore(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None = None
) -> Position | None:
    """Fill model, optimiser and average from the checkpoint in `folder`; None without one. Raises CheckpointError."""
    path = folder / FILE
    if not path.exists():
        return None
    tensors, metadata = read_tensors(path)
    facts = json.loads(metadata["facts"])
    own = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if getattr(model, "constants", ()) and (folder / CONSTANTS).exists():
        own |= read_tensors(folder / CONSTANTS)[0]
    try:
        model.load_state_dict(own)
        for name, value in (average or {}).items():
            value.copy_(tensors[f"average.{name}"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path}: does not fit this model. Start a new run with --out. {error}") from error
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in facts["plain"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    _lay_out(optimizer)
    position = facts["position"]
    return Position(**{**position, "losses": tuple(position["losses"])})


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give every state of a parameter's shape its strides: torch's fused steps go through memory and do not look."""
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                entries[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors and text to a safetensors file, whole or not at all."""
    flat = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    with files.whole(path) as temporary:
        try:
            save_file(flat, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, among others
            raise OSError(errno.EIO, str(error), str(temporary)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Named tensors and text of a safetensors file. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}).") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a safetensors file, from its header alone. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}).") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with files.whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path, keys: Mapping[str, type], advice: str, is_list: bool = False) -> Any:
    """The object in a JSON file of a run, or a list of such.

    Args:
        path: The file.
        keys: What each object must hold, and of which type.
        advice: What to do about a file that is not like that; ends the message.
        is_list: Expect a list of objects.

    Raises:
        CheckpointError: No such file, it is cut off or no JSON, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file, expected one as a run writes it. {advice}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected JSON as a run writes it, but: {error}. {advice}") from error
    objects = found if is_list and isinstance(found, list) else [found]
    for item in objects if isinstance(found, list) == is_list else [None]:
        wrong = [key for key, kind in keys.items() if not isinstance(item, dict) or not isinstance(item.get(key), kind)]
        if wrong or not isinstance(item, dict):
            needed = ", ".join(f"{key} ({kind.__name__})" for key, kind in keys.items())
            wanted = f"{'a list of objects' if is_list else 'an object'} as a run writes it, with {needed}"
            raise CheckpointError(f"{path}: expected {wanted}, got {json.dumps(found)[:60]}. {advice}")
    return found
