"""Everything a run needs to go on after it was killed, in one file that is replaced in one move, and one that stays.

The only importer of safetensors. No pickles: tensors are stored flat by name, everything else as JSON beside them.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flat = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    save_file(flat, temporary, metadata=metadata)
    os.replace(temporary, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Named tensors and text of a safetensors file. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}).") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)
