"""Apply a fine-tuned model to a folder of new cases: a label map for each on its own grid, or a row in a table."""

import csv
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from medgraph import files
from medgraph.data import formats
from medgraph.data.components import largest_component
from medgraph.data.formats import CaseFile
from medgraph.errors import CheckpointError, ConfigError, MedgraphError
from medgraph.runner import checkpoint, terminal
from medgraph.runner.model import Model, find_model, load_model
from medgraph.runner.slabs import check_reading, free_memory, predicted
from medgraph.runner.train import Stopped, pick_device

TABLE = "predictions.csv"  # of a model that classifies
_TOLD = "predictions.json"
_VALUES_AT_ONCE = 2**17  # voxels per forward pass: 56 slices of 48 x 48, or one of 362 x 362 and above
TROUBLE = (MedgraphError, OSError, MemoryError, RuntimeError)  # torch reports memory that is not there as the last


class CasesFailed(MedgraphError):  # noqa: N818  (told after all others are done)
    """Some cases could not be done; all others are."""

    exit_code = 3


def predict(
    run: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    probabilities: bool = False,
    keep_largest: bool = False,
    series: str | None = None,
    workers: int = 2,
    memory: float | None = None,
    device: str = "auto",
) -> Path:
    """Write what a fine-tuned model says of every case of a folder to another folder.

    A model that classifies or predicts a number writes `predictions.csv`, a row for each case. A case that fails does
    not stop the others. `predictions.json` holds the model, the classes, and what became of each case. A volume whose
    answer does not fit into memory is predicted in slabs, alike; one that cannot even be read fails with a forecast.

    Args:
        run: A run folder, or the folder of a model in it.
        images: Folder of the cases: NIfTI, NRRD, MetaImage, PNG or JPEG files, or DICOM series.
        out: Folder to write to; made if absent.
        model: Which of several models of the run, as `verdict/pretrained-4-seed31`.
        probabilities: Also write the probability of each class.
        keep_largest: Keep only the largest connected piece of each label.
        series: UID of the DICOM series to take where folders hold several.
        workers: Cases read ahead at the same time.
        memory: GiB that may be taken; what is free if unsaid.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` is `images`, lies in it, or already holds a file that would be written.
        CasesFailed: At the end, with a line for each case that failed.
        Stopped: Ctrl-C or SIGTERM came; what is done by then is written like at the end.
    """
    images, out = Path(images), Path(out)
    check_out(out, images, workers)
    console = terminal.console()
    loaded = _load(Path(run), model, console)
    _check_task(loaded, probabilities or keep_largest)
    files, rest = formats.find_cases(images, series)
    if rest:
        console.print(f"left out, of no kind that is read: {', '.join(path.name for path in rest)}")
    _check_free(out, files, loaded.spec.classes if probabilities else ())
    out.mkdir(parents=True, exist_ok=True)
    loaded.method.to(pick_device(device))
    job = _Job(loaded, out, probabilities, keep_largest, memory, console)
    done, failed, is_stopped = _predict_all(job, files, workers)
    if done and not _segments(loaded):
        _write_table(out / TABLE, loaded.spec, done)
    told = {"model": str(loaded.path), "classes": loaded.spec.classes, "cases": done, "failed": failed}
    checkpoint.write_json(out / _TOLD, told)
    if is_stopped:
        raise _stopped(len(done), len(files), out / _TOLD)
    report_failed(failed, len(files))
    return out


def write_labels(loaded: Model, case: Any, out: Path, console: Console) -> str:
    """Write what a model that segments says of one prepared case to `out`, in the case's own grid; the file's name."""
    return _write_case(_Job(loaded, out, False, False, None, console), case)["written"][0]


def check_out(out: Path, images: Path, workers: int) -> None:
    """Raise ConfigError where `out` is the folder of the cases or lies in it, or nobody would read them."""
    if images.resolve() in (out.resolve(), *out.resolve().parents):
        raise ConfigError(f"--out {out}: is the folder of the cases, or lies in it; choose another one.")
    if workers < 1:
        raise ConfigError(f"--workers: expected 1 or more, got {workers}.")


def read_ahead(
    files: Sequence[CaseFile], prepare: Callable[[CaseFile], Any], workers: int
) -> Iterator[tuple[CaseFile, Callable[[], Any]]]:
    """Each file and a call that gives what was prepared of it, or raises; at most `workers` + 1 wait in memory."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[CaseFile, Future[Any]]] = deque()
        left = iter(files)
        while True:
            for file in left:
                waiting.append((file, pool.submit(prepare, file)))
                if len(waiting) > workers:
                    break
            if not waiting:
                return
            file, future = waiting.popleft()
            yield file, future.result


def report_failed(failed: dict[str, str], count: int) -> None:
    """Raise CasesFailed with a line for each case that failed; nothing if none did."""
    if failed:
        lines = "\n".join(f"  {name}: {message}" for name, message in failed.items())
        others = "; the others are done" if count > len(failed) else ""
        raise CasesFailed(f"{len(failed)} of {count} cases failed{others}.\n{lines}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, as of a batch system, do what Ctrl-C does; the old handler comes back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _stopped(done: int, count: int, told: Path) -> Stopped:
    rest = "Give the others in a folder of their own, or start again with another --out."
    return Stopped(f"Interrupted: {done} of {count} cases are done and written whole, see {told}. {rest}")


def _load(run: Path, name: str | None, console: Console) -> Model:
    folder, names = find_model(run, name)
    if len(names) > 1 and name is None:
        console.print(f"taking {names[0]}; of {len(names)} models, --model names another: {', '.join(names[1:])}")
    return load_model(folder)


@dataclass(frozen=True)
class _Job:
    """What is done with every case."""

    loaded: Model
    out: Path
    probabilities: bool
    keep_largest: bool
    memory: float | None
    console: Console

    def budget(self) -> int:
        """Bytes that may be taken now."""
        return free_memory() if self.memory is None else int(self.memory * 2**30)


@_terminated_as_interrupted()
def _predict_all(
    job: _Job, files: Sequence[CaseFile], workers: int
) -> tuple[list[dict[str, Any]], dict[str, str], bool]:
    """What was written for each case, the message of each that failed, and whether an interrupt came before the end."""
    share = job.budget() // min(len(files), workers + 1)  # so many cases are in memory at once

    def prepare(file: CaseFile) -> Any:
        _forecast(job, file, share)
        return job.loaded.data.new_case(file, whole=True)

    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    try:
        for file, case in read_ahead(files, prepare, workers):
            try:
                done.append(_write_case(job, case()))
                job.console.print(f"{file.id}: {_told(done[-1])}")
            except TROUBLE as error:
                failed[file.id] = str(error) or type(error).__name__
                job.console.print(f"{file.id}: failed")
    except KeyboardInterrupt:
        return done, failed, True
    return done, failed, False


def _forecast(job: _Job, file: CaseFile, budget: int) -> None:
    """Raise DataError for a case that cannot be read within `budget` bytes, from its header alone."""
    if file.kind not in ("NIfTI", "NRRD", "MetaImage"):
        return  # the others tell their size only when they are read
    grid = formats.read_grid(file.path)
    spacing = getattr(getattr(job.loaded.data, "cache", None), "spacing", None)
    native = math.prod(grid.shape)
    axes = zip(grid.ras_shape, grid.ras_spacing, spacing or (None, None, None), strict=True)
    prepared = round(math.prod(n if want is None else n * have / want for n, have, want in axes))
    maps = len(job.loaded.spec.classes) if job.probabilities else 0
    check_reading(str(file.path), native, prepared, extra=8 * maps * prepared, budget=budget)


def _segments(loaded: Model) -> bool:
    return hasattr(loaded.method, "decoder")


def _check_task(loaded: Model, wants_maps: bool) -> None:
    if not hasattr(loaded.data, "new_case"):
        name = type(loaded.data).__name__
        raise CheckpointError(
            f"{loaded.path}: was trained on {name}, which reads no single files: a new file cannot be prepared alike."
        )
    if not _segments(loaded) and wants_maps:
        raise ConfigError(
            "--probabilities, --largest-component: are for models that segment; this one writes "
            f"{TABLE}, with all probabilities. Leave them out."
        )


def _check_free(out: Path, files: Sequence[CaseFile], classes: Sequence[str]) -> None:
    wanted = [path for file in files for path in (_target(out, file), *(_target(out, file, c) for c in classes))]
    present = [path.name for path in (*wanted, out / TABLE) if path.exists()]
    if present:
        raise ConfigError(
            f"--out {out}: already holds {', '.join(present[:3])}{', ...' if len(present) > 3 else ''}; "
            "choose another folder. Nothing was written."
        )


def _target(out: Path, file: CaseFile, name: str | None = None) -> Path:
    return out / f"{file.id}{'' if name is None else '_' + name.replace(' ', '-')}{file.suffix}"


@torch.no_grad()
def _write_case(job: _Job, case: Any) -> dict[str, Any]:
    """Predict one case, write it, and tell what was written."""
    loaded, out = job.loaded, job.out
    if not _segments(loaded):
        return _answered(loaded, case.file, torch.cat(list(_logits(job, case))))
    labels, values = [], []
    stored = torch.uint8 if len(loaded.spec.classes) <= 256 else torch.int32
    for logits in _logits(job, case):
        labels.append(logits.argmax(dim=1).to(stored))
        values += [logits.softmax(dim=1)] if job.probabilities else []
    along = 1 if case.images.ndim == 5 else 0  # slabs of a volume, or slices
    native = case.to_native(torch.cat(labels, dim=along))
    native = largest_component(native) if job.keep_largest else native
    path = _target(out, case.file)
    formats.write(path, native, case.grid)
    written = [path.name]
    for index, name in enumerate(loaded.spec.classes if job.probabilities else ()):
        map_ = case.values_to_native(torch.cat([part[:, index] for part in values], dim=along))
        formats.write(_target(out, case.file, name), map_.astype(np.float32), case.grid)
        written.append(_target(out, case.file, name).name)
    counts = {name: int((native == index).sum()) for index, name in enumerate(loaded.spec.classes)}
    return {"case": case.file.id, "read": str(case.file.path), "written": written, "voxels": counts}


def _logits(job: _Job, case: Any) -> Iterator[torch.Tensor]:
    """The model's answers on the CPU: of some slices or images at a time, or of some slabs of a volume."""
    method, spec = job.loaded.method, job.loaded.spec
    device = next(method.parameters()).device

    def predict_part(part: torch.Tensor) -> torch.Tensor:
        return method.predict(part.to(device)).cpu()

    if _segments(job.loaded) and case.images.ndim == 5:
        window = (method.size[0], method.overlap) if hasattr(method, "overlap") else None
        budget = job.budget() // 2 if device.type == "cpu" else torch.cuda.mem_get_info(device)[0] // 2
        say = f"{case.file.id}: "
        yield from predicted(
            predict_part, case.images, spec.num_classes, window, budget, lambda line: job.console.print(say + line)
        )
        return
    if not _segments(job.loaded) and getattr(method.encoder, "takes_stacks", False):
        yield predict_part(case.images[None])  # one answer for the whole stack
        return
    if getattr(method, "context", None) is not None:
        yield predict_part(case.images)  # each slice knows of all others of its stack
        return
    at_once = max(1, _VALUES_AT_ONCE // case.images[0].numel())
    for part in case.images.tensor_split(-(-len(case.images) // at_once)):
        yield predict_part(part)


def _told(done: dict[str, Any]) -> str:
    if "class" in done:
        return str(done["class"])
    if "value" in done:
        return f"{done['value']:.4g}"
    unit = "pixels" if done["written"][0].endswith(".png") else "voxels"
    return ", ".join(f"{name} {count}" for name, count in list(done["voxels"].items())[1:]) + f" {unit}"


def _answered(loaded: Model, file: CaseFile, outputs: torch.Tensor) -> dict[str, Any]:
    """What a model says of one case as a whole: the mean of its images' probabilities, or numbers."""
    told = {"case": file.id, "read": str(file.path)}
    if loaded.spec.target:
        return {**told, "value": outputs.float().mean().item()}
    mean = outputs.float().softmax(dim=1).mean(dim=0)
    return {**told, "class": loaded.spec.classes[int(mean.argmax())], "probabilities": mean.tolist()}


def _write_table(path: Path, spec: Any, done: Sequence[dict[str, Any]]) -> None:
    with files.whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", spec.target] if spec.target else ["case", "class", *spec.classes])
        for row in done:
            writer.writerow(
                [row["case"], row["value"]] if spec.target else [row["case"], row["class"], *row["probabilities"]]
            )
