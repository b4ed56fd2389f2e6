"""THE training loop, for pre-training and fine-tuning alike. Made to be read."""

import itertools
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from medgraph.config.schema import Train
from medgraph.data.loader import draw_batches, load
from medgraph.errors import ConfigError, DataError, MedgraphError
from medgraph.method import Method, Step
from medgraph.runner import checkpoint
from medgraph.runner.ahead import ahead, has_free_core
from medgraph.runner.allocator import keep_freed_memory
from medgraph.runner.average import Average
from medgraph.runner.checkpoint import Position
from medgraph.runner.cost import Cost
from medgraph.runner.grad_cache import encoder_in_chunks
from medgraph.runner.log import MetricsLog, Progress
from medgraph.runner.monitor import CollapseWatch
from medgraph.runner.norms import share_norms
from medgraph.runner.patience import Patience
from medgraph.runner.seed import seed_all

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SAVE_SECONDS = 10.0  # between checkpoints, at least: what a kill may cost, beside the epoch under way


class Stopped(MedgraphError):  # noqa: N818  (no error: asked for)
    """Someone asked to stop, and what is done by then is kept."""

    exit_code = 130  # what shells give for Ctrl-C


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes a GPU where there is one. Raises ConfigError where it is missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: torch sees no GPU on this machine. Use --device cpu, or auto.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device: expected auto, cpu or cuda, got {name!r}.") from error


def train(
    method: Method,
    dataset: Any,
    plan: Train,
    *,
    optimizer: Any,
    schedule: Any,
    seed: int,
    folder: Path,
    device: str,
    title: str,
) -> None:
    """Train `method` on `dataset` for `plan.epochs` epochs, going on from the checkpoint in `folder` if there is one.

    Each step is seeded by (seed, step), each epoch's order by (seed, epoch): a resumed run equals an uninterrupted one.
    A checkpoint is written at the end of an epoch, unless the last one is a few seconds old; with `patience` at each.

    Raises:
        DataError: Fewer examples than one batch holds.
        ConfigError: The device cannot do `plan.precision`.
        Stopped: SIGTERM or Ctrl-C came; the checkpoint holds the last finished step.
        MedgraphError: The loss is no longer finite.
    """
    if len(dataset) < plan.batch_size:
        raise DataError(
            f"{title}: {len(dataset)} training examples, but one batch takes {plan.batch_size}. "
            "Give more data, or lower train.batch_size."
        )
    if plan.precision == "fp16" and pick_device(device).type == "cpu":
        raise ConfigError(f"{title}: train.precision: fp16 needs a GPU; on a CPU take fp32, or bf16.")
    keep_freed_memory()
    AcceleratorState._reset_state(True)  # one process runs many stages, each with its own precision
    accelerator = Accelerator(
        mixed_precision=PRECISIONS[plan.precision],
        gradient_accumulation_steps=plan.accumulate,
        cpu=pick_device(device).type == "cpu",
        # Frozen prototypes, a head's warm-up and a loss of weight 0 leave parameters without gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    method.train().to(accelerator.device)
    share_norms(method, accelerator.device, accelerator.num_processes)
    torch_optimizer = optimizer.make(method.parameter_groups())
    folder.mkdir(parents=True, exist_ok=True)
    average = None if plan.ema is None else Average(method, plan.ema)
    averages = None if average is None else average.tensors
    position = checkpoint.restore(folder, method, torch_optimizer, averages) or Position()
    model, prepared = accelerator.prepare(method, torch_optimizer)
    is_ahead = accelerator.device.type == "cpu" and has_free_core()
    cost = Cost(method, optimizer, accelerator.device, folder, is_ahead)
    loop = _Loop(
        accelerator, model, method, prepared, schedule, plan, seed, folder, title, dataset, cost, average, is_ahead
    )
    with encoder_in_chunks(method, plan.grad_cache_chunks, title):
        loop.run(dataset, position)


class _Loop:
    """The state that the loop's parts share: one instance per call of `train`."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: Any,
        method: Method,
        optimizer: Any,
        schedule: Any,
        plan: Train,
        seed: int,
        folder: Path,
        title: str,
        dataset: Any,
        cost: Cost,
        average: Average | None,
        is_ahead: bool,
    ):
        self.accelerator, self.model, self.method, self.optimizer = accelerator, model, method, optimizer
        self.schedule, self.plan, self.seed, self.folder, self.title = schedule, plan, seed, folder, title
        self.dataset, self.cost, self.average, self.is_ahead = dataset, cost, average, is_ahead
        self.num_batches = len(self._batches(epoch=0))
        if self.num_batches == 0:
            raise DataError(
                f"{title}: {len(dataset)} training examples do not fill {plan.accumulate} accumulated batches of "
                f"{plan.batch_size} on each of {accelerator.num_processes} processes. Lower train.accumulate or "
                "train.batch_size, or start fewer processes; a graph that is taken whole trains in one."
            )
        self.num_steps = plan.epochs * (self.num_batches // plan.accumulate)
        self.parameters = list(method.parameters())  # walking through the modules takes as long as clipping
        self.watch = CollapseWatch()
        self.patience = Patience(plan.patience, folder) if plan.patience is not None else None
        self.losses: list[float] = []  # of the epoch under way, over all processes
        self.saved = time.monotonic()
        self.parts: list[dict[str, float]] = []  # metrics of the batches that make up the step under way

    def run(self, dataset: Any, position: Position) -> None:
        """All epochs that are left, from `position` on."""
        quiet = not self.accelerator.is_main_process
        self.losses = list(position.losses)
        with _stop_signal(self.title) as stop:
            log = MetricsLog(self.folder, resume_step=position.step, silent=quiet)
            try:
                with Progress(self.num_steps, self.title, position.step, quiet) as bar:
                    self.cost.begin()
                    while position.epoch < self.plan.epochs and not self._is_over(position.epoch):
                        position = self._epoch(dataset, position, log, bar, stop)
                    for line in self.cost.close(bar.waited, write=not quiet):
                        bar.say(line)
            finally:
                log.close()
        for line in [] if quiet else self.method.left_unused():
            warnings.warn(f"{self.title}: {line}", stacklevel=2)
        if self.patience is not None and self.plan.keep == "best" and self.patience.has_best:
            self.patience.restore(self.method)
        elif self.average is not None:
            self.average.copy_to(self.method)

    def _epoch(
        self, dataset: Any, position: Position, log: MetricsLog, bar: Progress, stop: threading.Event
    ) -> Position:
        epoch, step = position.epoch, position.step
        if position.batch == 0:
            self._start_epoch(dataset, epoch, step)
        batches, given = self._batches(epoch), self.method.step_data(dataset)
        for line in self.cost.start(given, batches[0], Step(self.seed, epoch, step)):
            bar.say(line)
        loaded = self._prepared(given, batches[position.batch :], epoch, step)
        for index, (batch, views) in enumerate(_timed(loaded, bar), start=position.batch + 1):
            metrics = self._step(batch, views, Step(self.seed, epoch, step))
            if metrics is None:
                continue
            step += 1
            log.write(step, metrics)
            loss, is_asked = self._over_processes(metrics["loss"], stop.is_set())
            self.losses.append(loss)
            bar.update(loss=metrics["loss"], examples=self.plan.batch_size * self.plan.accumulate)
            if is_asked:
                self._save(Position(epoch, index, step, tuple(self.losses)), log)
                raise Stopped(f"{self.title}: stopped after step {step} of {self.num_steps}.")
        if self.patience is not None and epoch >= self.method.num_warmup_epochs:
            with nullcontext() if self.average is None else self.average.in_place(self.method):
                error = self.method.validation_error(self._in_order(dataset))
                watched = sum(self.losses) / max(len(self.losses), 1) if error is None else error
                self.patience.observe(epoch, watched, self.method, self.accelerator.is_main_process)
        self.losses.clear()
        done = Position(epoch + 1, 0, step)
        is_soon = time.monotonic() - self.saved < _SAVE_SECONDS and self.patience is None
        if not is_soon or done.epoch == self.plan.epochs:
            self._save(done, log)
        return done

    def _is_over(self, epochs: int) -> bool:
        return self.patience is not None and epochs > 0 and self.patience.is_over(epochs)

    def _over_processes(self, loss: float, is_asked: bool) -> tuple[float, bool]:
        """The mean loss, and whether any process was asked to stop: then all stop after the same step."""
        if self.accelerator.num_processes == 1:
            return loss, is_asked
        values = torch.tensor([loss, is_asked], dtype=torch.float32, device=self.accelerator.device)
        loss, share = self.accelerator.reduce(values, reduction="mean").tolist()
        return loss, share > 0

    def _batches(self, epoch: int) -> list[list[int]]:
        """This process's batches of example indices of one epoch."""
        batches = self._order(epoch)
        if self.plan.steps_per_epoch is not None:
            needed, extra = self.plan.steps_per_epoch * self.plan.accumulate, 1
            while len(batches) < needed:  # a small set is walked several times, in a new order each time
                batches += self._order(epoch + 100_003 * extra)
                extra += 1
            batches = batches[:needed]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        whole = len(batches) - len(batches) % (world * self.plan.accumulate)  # every epoch ends with a step taken
        return batches[rank:whole:world]

    def _order(self, epoch: int) -> list[list[int]]:
        """All batches of one epoch: the method's own, or a plain shuffle."""
        size = self.plan.batch_size
        own = self.method.epoch_batches(self.dataset, size, self.seed, epoch)
        return draw_batches(self.dataset, size, self.seed, epoch) if own is None else own

    def _start_epoch(self, dataset: Any, epoch: int, step: int) -> None:
        self.method.on_epoch_start(Step(self.seed, epoch, step), self._in_order(dataset))

    def _in_order(self, dataset: Any) -> Iterator[Any]:
        """The whole data set in batches, in order; nothing is loaded before the first is asked for."""
        size = self.plan.batch_size
        order = [list(range(i, min(i + size, len(dataset)))) for i in range(0, len(dataset), size)]
        for batch in load(dataset, order, self.plan.num_workers):
            yield batch.to(self.accelerator.device)

    def _prepared(self, dataset: Any, batches: list[list[int]], epoch: int, first: int) -> Iterator[Any]:
        """Batches on the device with their views, made ahead where a CPU trains and has a core to spare for that.

        `first` is the number of the step of the first one.
        """
        loaded, device = load(dataset, batches, self.plan.num_workers), self.accelerator.device

        def prepare(batch: Any, index: int) -> tuple[Any, Any]:
            there = batch.to(device)
            return there, self.method.views_of(there, Step(self.seed, epoch, first + index // self.plan.accumulate))

        is_ahead = self.is_ahead and len(batches) > 1
        return ahead(loaded, prepare) if is_ahead else map(prepare, loaded, itertools.count())

    def _step(self, batch: Any, views: Any, step: Step) -> dict[str, float] | None:
        """One batch forward and backward; the metrics when an optimiser step was taken, None while accumulating."""
        seed_all(self.seed, step.number, *([len(self.parts)] if self.parts else []))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.schedule.factor(step.number, self.num_steps)
        with self.accelerator.accumulate(self.model):
            outputs = self.model(batch, step, views)
            loss = outputs["loss"]
            if not torch.isfinite(loss):
                raise MedgraphError(
                    f"{self.title}: the loss is {loss.item()} at step {step.number}. "
                    "Lower the learning rate, set train.clip_norm, or use precision fp32."
                )
            with self.cost.backward():
                self.accelerator.backward(loss)
            stepped = self.accelerator.sync_gradients
            if stepped and self.plan.clip_norm is not None:
                self.accelerator.clip_grad_norm_(self.parameters, self.plan.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.parts.append({name: float(value.detach()) for name, value in outputs.items()})
        if not stepped:
            return None
        if self.average is not None:
            self.average.update(self.method, step.number)
        metrics = {name: sum(part[name] for part in self.parts) / len(self.parts) for name in self.parts[0]}
        self.parts.clear()
        return metrics | self._watched(metrics["loss"], step) | {"lr": self.optimizer.param_groups[0]["lr"]}

    def _watched(self, loss: float, step: Step) -> dict[str, float]:
        seen = self.method.watched()
        if not seen or step.number % 10:
            return {}
        own_loss = float(seen.get("loss", loss))
        values, messages = self.watch.observe(step.number, own_loss, seen["embeddings"], seen["scores"])
        for message in messages:
            warnings.warn(f"{self.title}, step {step.number}: {message}", stacklevel=2)
        return values

    def _save(self, position: Position, log: MetricsLog) -> None:
        if self.accelerator.is_main_process:
            log.flush()  # the log never lags behind the checkpoint
            averages = None if self.average is None else self.average.tensors
            checkpoint.save(self.folder, self.method, self.optimizer.optimizer, position, averages)
            self.saved = time.monotonic()


def _timed(batches: Any, bar: Progress) -> Iterator[Any]:
    """Iterate, telling the progress bar how long each batch was waited for."""
    iterator = iter(batches)
    while True:
        with bar.waiting():
            try:
                batch = next(iterator)
            except StopIteration:
                return
        yield batch


@contextmanager
def _stop_signal(title: str) -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set instead of ending the process mid-step; the old handlers come back.

    Raises:
        Stopped: A signal came after the last step: it must not be lost.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    old = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if event.is_set():
        raise Stopped(f"{title}: stopped after the last step.")
