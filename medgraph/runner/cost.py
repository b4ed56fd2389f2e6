"""What a training costs: memory beforehand and at its peak, images per second, and the time outside the encoder."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from medgraph.method import Method, Step
from medgraph.runner import checkpoint
from medgraph.runner.encoder_clock import EncoderClock
from medgraph.runner.memory import Forecast, Peak, forecast, in_gib

FILE = "cost.json"
_FEWEST = 4  # examples of a batch that memory can be forecast from


class Cost:
    """Watches one training and says what it takes, in lines and in `cost.json`.

    Args:
        method: On its device.
        optimizer: Part of the table `optimizers`.
        device: Where training runs; time is told on the CPU alone, where calls do not return early.
        folder: Where `cost.json` goes.
        is_ahead: The next batch and its views are made while a step computes.
    """

    def __init__(self, method: Method, optimizer: Any, device: torch.device, folder: Path, is_ahead: bool = False):
        self._method, self._optimizer, self._device, self._folder = method, optimizer, device, folder
        self._is_ahead = is_ahead
        self._clock: EncoderClock | None = None
        self._forecast: Forecast | None = None
        self._peak: Peak | None = None
        self._began: float | None = None

    def begin(self) -> None:
        """Before the start of the first epoch, where a method may go through all its data."""
        if self._device.type == "cpu":
            self._clock = EncoderClock(self._method.encoder)
        self._began = time.perf_counter()

    def start(self, dataset: Any, batch: Sequence[int], step: Step) -> list[str]:
        """Before the first step: the forecast in words, where the method allows one; nothing when called again."""
        if self._peak is not None or self._began is None:
            return []
        paused = time.perf_counter()
        if self._method.takes_part_batches and len(batch) >= _FEWEST:
            with nullcontext() if self._clock is None else self._clock.paused():
                settings = (self._optimizer, self._device, self._is_ahead)
                self._forecast = forecast(self._method, dataset, batch, step, *settings)
        self._peak = Peak(self._device)
        self._began += time.perf_counter() - paused  # a forecast is no part of training
        return [] if self._forecast is None else [str(self._forecast)]

    def backward(self) -> AbstractContextManager[None]:
        """Around a backward pass."""
        return nullcontext() if self._clock is None else self._clock.backward()

    def close(self, waited: float, write: bool) -> list[str]:
        """At the end: what it came to since `begin`, in words; also written unless another process does that.

        Time is that of everything but the forecast: starts of epochs, steps, checkpoints. Memory is of the steps.

        Args:
            waited: Seconds of waiting for data.
            write: Leave `cost.json` behind.
        """
        if self._peak is None or self._began is None:
            return []
        found, lines = self._found(time.perf_counter() - self._began, waited), []
        if found["peak_bytes"] and self._forecast is not None:
            share = found["peak_bytes"] / self._forecast.total - 1
            side = "above" if share > 0 else "below"
            lines.append(
                f"memory: {in_gib(found['peak_bytes'])} at the peak, {abs(share):.0%} {side} what was expected"
            )
        if "images_per_second" in found:
            outside = f"{found['outside_encoder']:.0%} of the time outside it (heads, decoder, losses, views)"
            lines.append(f"time: {found['images_per_second']:.0f} images/s through the encoder, {outside}")
        if self._clock is not None:
            self._clock.close()
        if write:
            checkpoint.write_json(self._folder / FILE, found)
        return lines

    def _found(self, seconds: float, waited: float) -> dict[str, Any]:
        assert self._peak is not None
        found: dict[str, Any] = {"seconds": seconds, "waiting": waited / seconds, "peak_bytes": self._peak.bytes()}
        if self._forecast is not None:
            found["forecast_bytes"] = self._forecast.total
        if self._clock is not None:
            found["outside_encoder"] = 1 - self._clock.seconds / seconds
            if self._clock.images:
                found["images_per_second"] = self._clock.images / seconds
        return found
