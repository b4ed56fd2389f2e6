"""Memory of a training: forecast from two small steps before it starts, and the peak that came."""

import copy
import gc
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medgraph.method import Method, Step

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Forecast:
    """Bytes that a training will hold at its peak.

    Attributes:
        before: Held before the first step: libraries, data, weights.
        optimizer: What the optimiser will remember.
        step: Tensors of one step at its peak: views, activations, gradients.
    """

    before: int
    optimizer: int
    step: int

    @property
    def total(self) -> int:
        """All together."""
        return self.before + self.optimizer + self.step

    def __str__(self) -> str:
        parts = (
            f"{in_gib(self.before)} before the first step, {in_gib(self.optimizer)} optimiser, {in_gib(self.step)} step"
        )
        return f"memory: {in_gib(self.total)} expected ({parts})"


def forecast(
    method: Method,
    dataset: Any,
    batch: Sequence[int],
    step: Step,
    optimizer: Any,
    device: torch.device,
    is_ahead: bool = False,
) -> Forecast:
    """Try two small parts of a batch on a copy of the method, and draw the line through what they took.

    The method itself, and what it remembers, stays as it is. Its tensors grow with the examples, beside a constant.

    Args:
        method: On `device`, ready for its first step.
        dataset: Gives examples by index.
        batch: Indices of a whole batch, of four examples or more.
        step: Where training stands.
        optimizer: Part of the table `optimizers`.
        device: Where training runs.
        is_ahead: The next batch and its views lie there while a step computes.
    """
    divisor = 4 if len(batch) >= 32 else 2
    small, large = batch[:: 2 * divisor], batch[::divisor]
    trial = copy.deepcopy(method)
    parts = (dataset.__getitems__(list(part)).to(device) for part in (small, large))
    peaks = [_peak_of_step(trial, part, step, is_ahead) for part in parts]
    slope = (peaks[1] - peaks[0]) / (len(large) - len(small))
    made = optimizer.make(trial.parameter_groups())
    made.step()
    remembered = sum(_bytes(value) for entry in made.state.values() for value in _tensors(entry))
    del trial, made
    gc.collect()
    return Forecast(held(device), remembered, round(peaks[1] + slope * (len(batch) - len(large))))


def held(device: torch.device) -> int:
    """Bytes held now: tensors of a GPU, or all of this process; 0 where the system does not tell."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


class Peak:
    """The most that was held since this was made.

    Args:
        device: Where training runs.
    """

    def __init__(self, device: torch.device):
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif _RESET.exists():
            _RESET.write_text("5")  # Linux then counts VmHWM anew

    def bytes(self) -> int:
        """The peak so far; 0 where the system does not tell."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else _status("VmHWM")


def in_gib(count: int) -> str:
    """Bytes in words."""
    return f"{count / 2**30:.2f} GiB"


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is on, and are still alive.

    Attributes:
        now: Bytes alive.
        peak: The most that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(tree_leaves(made)):
            self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return
        self.now += size
        self.peak = max(self.peak, self.now)
        self._seen[key] = weakref.ref(storage, lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        del self._seen[key]
        self.now -= size


def _peak_of_step(method: Method, batch: Any, step: Step, is_ahead: bool) -> int:
    method.zero_grad(set_to_none=True)
    own = sum(_bytes(value) for value in _tensors(vars(batch).values()))
    with LiveBytes() as live:
        views = method.views_of(batch, step)
        coming = own + live.now if is_ahead else 0
        method(batch, step, views)["loss"].backward()
    return own + live.peak + coming


def _tensors(values: Any) -> list[Tensor]:
    entries = values.values() if isinstance(values, Mapping) else values
    return [value for value in entries if isinstance(value, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none."""
    if not _STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return 1024 * int(lines[name].split()[0])
