"""What training says while it runs: metrics.jsonl, TensorBoard, and a progress bar."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from medgraph import files
from medgraph.errors import CheckpointError
from medgraph.runner import terminal


class MetricsLog:
    """Metrics of every step, as lines of JSON and for TensorBoard.

    Args:
        folder: Where `metrics.jsonl` and `tensorboard/` lie.
        resume_step: Steps that the checkpoint holds; later lines of an interrupted run are dropped.
        silent: Write nothing, as every process but the first must.
    """

    def __init__(self, folder: Path, resume_step: int = 0, silent: bool = False):
        self.silent = silent
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only a run needs it

        path = folder / "metrics.jsonl"
        kept = [line for line, record in _records(path) if record["step"] <= resume_step]
        with files.whole(path) as temporary:
            temporary.write_text("".join(kept))
        self._file = path.open("a")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Add the metrics of one step."""
        if self.silent:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put everything on disk, as before a checkpoint."""
        if self.silent:
            return
        self._file.flush()
        self._board.flush()

    def close(self) -> None:
        """Flush and close both."""
        if self.silent:
            return
        self._file.close()
        self._board.close()


class Progress:
    """A bar with loss, examples per second and the share of time spent waiting for data.

    On a terminal it moves; elsewhere one line is printed at the end.

    Args:
        num_steps: Steps of the whole training.
        title: What is trained.
        done: Steps done before.
        quiet: Print nothing at all.

    Attributes:
        waited: Seconds of waiting for data.
    """

    def __init__(self, num_steps: int, title: str, done: int = 0, quiet: bool = False):
        self.num_steps, self.title, self.done = num_steps, title, done
        self._console = terminal.console(quiet)
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Bars(*columns, TextColumn("{task.fields[facts]}"), console=self._console, transient=True)
        self._examples, self.waited, self._facts = 0, 0.0, ""

    def __enter__(self) -> "Progress":
        self._start = time.perf_counter()
        if self._console.is_terminal:
            self._bars.start()
        self._task = self._bars.add_task(self.title, total=self.num_steps, completed=self.done, facts="")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()
        self._console.print(f"  {self.title}: {self.done} of {self.num_steps} steps, {self._facts}")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    def say(self, line: str) -> None:
        """Print a line beside the bar."""
        self._console.print(f"  {line}")

    def update(self, loss: float, examples: int) -> None:
        """One optimiser step was taken."""
        self.done += 1
        self._examples += examples
        spent = self.seconds
        self._facts = f"loss {loss:.4f}, {self._examples / spent:.0f} examples/s, {self.waited / spent:.0%} waiting"
        self._bars.update(self._task, completed=self.done, facts=self._facts)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time spent inside as waiting for data."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - start


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """What `metrics.jsonl` holds, step by step. Raises CheckpointError for a line that holds something else."""
    return [record for _, record in _records(path)]


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of a file that may have been cut off mid-line, and what they say; none when it is not there."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if line.endswith("\n"):
            try:
                record = json.loads(line)
                record["step"] + 0
            except (ValueError, TypeError, KeyError) as error:
                raise CheckpointError(
                    f"{path}:{number}: expected the metrics of a step as JSON, got {line[:60].strip()!r}. "
                    "Remove this line; only curves need it."
                ) from error
            yield line, record
