"""Apply a fine-tuned model to a folder of new cases: a label map for each, on its own grid."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from medgraph.data import formats
from medgraph.data.formats import CaseFile
from medgraph.errors import CheckpointError, ConfigError, MedgraphError
from medgraph.runner import checkpoint
from medgraph.runner.model import Model, find_model, load_model
from medgraph.runner.train import pick_device

_TABLE = "predictions.csv"  # of a model that classifies
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
    series: str | None = None,
    workers: int = 2,
    device: str = "auto",
) -> Path:
    """Write what a fine-tuned model says of every case of a folder to another folder.

    A model that classifies writes `predictions.csv`, a row for each case with the probability of each class. A case
    that fails does not stop the others. `predictions.json` holds the model, the classes, and what became of each case.

    Args:
        run: A run folder, or the folder of a model in it.
        images: Folder of the cases: NIfTI, NRRD, MetaImage, PNG or JPEG files, or DICOM series.
        out: Folder to write to; made if absent.
        model: Which of several models of the run, as `verdict/pretrained-4-seed31`.
        probabilities: Also write the probability of each class.
        series: UID of the DICOM series to take where folders hold several.
        workers: Cases read ahead at the same time.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` is `images`, lies in it, or already holds a file that would be written.
        CasesFailed: At the end, with a line for each case that failed.
    """
    images, out = Path(images), Path(out)
    check_out(out, images, workers)
    console = Console(highlight=False, soft_wrap=True)
    folder, names = find_model(Path(run), model)
    loaded = load_model(folder)
    _check_task(loaded)
    if len(names) > 1 and model is None:
        console.print(f"taking {names[0]}; of {len(names)} models, --model names another: {', '.join(names[1:])}")
    files, rest = formats.find_cases(images, series)
    if rest:
        console.print(f"left out, of no kind that is read: {', '.join(path.name for path in rest)}")
    _check_free(out, files, loaded.spec.classes if probabilities else ())
    out.mkdir(parents=True, exist_ok=True)
    loaded.method.to(pick_device(device))

    done, failed = _predict_all(loaded, files, out, probabilities, workers, console)
    if done and "probabilities" in done[0]:
        _write_table(out / _TABLE, loaded.spec.classes, done)
    described = {"model": str(folder), "classes": loaded.spec.classes, "cases": done, "failed": failed}
    checkpoint.write_json(out / "predictions.json", described)
    report_failed(failed, len(files))
    return out


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
        raise CasesFailed(f"{len(failed)} of {count} cases failed; the others are done.\n{lines}")


def _predict_all(
    loaded: Model, files: Sequence[CaseFile], out: Path, probabilities: bool, workers: int, console: Console
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What was written for each case, and the message of each that failed."""

    def prepare(file: CaseFile) -> Any:
        return loaded.data.new_case(file, whole=True)

    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for file, case in read_ahead(files, prepare, workers):
        try:
            done.append(_write_case(loaded, case(), out, probabilities))
            console.print(f"{file.id}: {_told(done[-1])}")
        except TROUBLE as error:
            failed[file.id] = str(error)
            console.print(f"{file.id}: failed")
    return done, failed


def _check_task(loaded: Model) -> None:
    if not hasattr(loaded.data, "new_case"):
        raise CheckpointError(
            f"{loaded.path}: a single file cannot be prepared like the data of this model, expected slices of volumes."
        )


def _check_free(out: Path, files: Sequence[CaseFile], classes: Sequence[str]) -> None:
    wanted = [path for file in files for path in (_target(out, file), *(_target(out, file, c) for c in classes))]
    present = [path.name for path in (*wanted, out / _TABLE) if path.exists()]
    if present:
        raise ConfigError(
            f"--out {out}: already holds {', '.join(present[:3])}{', ...' if len(present) > 3 else ''}; "
            "choose another folder. Nothing was written."
        )


def _target(out: Path, file: CaseFile, name: str | None = None) -> Path:
    return out / f"{file.id}{'' if name is None else '_' + name.replace(' ', '-')}{file.suffix}"


@torch.no_grad()
def _write_case(loaded: Model, case: Any, out: Path, probabilities: bool) -> dict[str, Any]:
    """Predict one case, write it, and tell what was written."""
    labels, values, flat = [], [], []
    per_pass = max(1, _VALUES_AT_ONCE // case.images[0].numel())
    device = next(loaded.method.parameters()).device
    for part in case.images.split(per_pass):
        logits = loaded.method.predict(part.to(device)).cpu()
        if logits.ndim == 2:
            flat.append(logits)
            continue
        labels.append(logits.argmax(dim=1).to(torch.uint8))
        values += [logits.softmax(dim=1)] if probabilities else []
    if flat:
        return _classified(loaded, case.file, torch.cat(flat))
    native = case.to_native(torch.cat(labels))
    path = _target(out, case.file)
    formats.write(path, native, case.grid)
    written = [path.name]
    for index, name in enumerate(loaded.spec.classes if probabilities else ()):
        map_ = case.values_to_native(torch.cat([part[:, index] for part in values]))
        formats.write(_target(out, case.file, name), map_.astype(np.float32), case.grid)
        written.append(_target(out, case.file, name).name)
    counts = {name: int((native == index).sum()) for index, name in enumerate(loaded.spec.classes)}
    return {"case": case.file.id, "read": str(case.file.path), "written": written, "voxels": counts}


def _told(done: dict[str, Any]) -> str:
    if "class" in done:
        return str(done["class"])
    return ", ".join(f"{name} {count}" for name, count in list(done["voxels"].items())[1:]) + " voxels"


def _classified(loaded: Model, file: CaseFile, logits: torch.Tensor) -> dict[str, Any]:
    """What a model that classifies says of one case: the mean of its images' probabilities."""
    mean = logits.float().softmax(dim=1).mean(dim=0)
    name = loaded.spec.classes[int(mean.argmax())]
    return {"case": file.id, "read": str(file.path), "class": name, "probabilities": mean.tolist()}


def _write_table(path: Path, classes: Sequence[str], done: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "class", *classes])
        writer.writerows([row["case"], row["class"], *row["probabilities"]] for row in done)
