"""Features of new cases by an encoder: tables with ids, and the same rows as plain arrays."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from rich.console import Console

from medgraph import config
from medgraph.data import formats
from medgraph.data.formats import CaseFile
from medgraph.errors import CheckpointError, ConfigError, DataError
from medgraph.files import whole
from medgraph.runner import terminal
from medgraph.runner.encoder_folder import FACTS, HF_FACTS
from medgraph.runner.export import load_encoder
from medgraph.runner.predict import TROUBLE, check_out, read_ahead, report_failed
from medgraph.runner.train import pick_device

_AT_ONCE = 64
Table = tuple[dict[str, Any], np.ndarray]  # what names each row, by column; and the rows (n, d)


def embed(
    run: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    encoder: str | None = None,
    series: str | None = None,
    workers: int = 2,
    changes: Sequence[str] = (),
    device: str = "auto",
) -> Path:
    """Write the features of every case of a folder: `cases.parquet` and `cases.npy`, a row for each case.

    Where cases are volumes and the encoder sees one slice at a time, a case's row is the mean over its slices, and
    `slices.parquet` and `slices.npy` hold a row for each slice. The columns are case, slice and embedding; rows of
    both kinds of file stand in the same order. A case that fails does not stop the others. All files are written at
    the end, or none.

    Args:
        run: A run folder, or the folder of an encoder.
        images: Folder of the cases: NIfTI, NRRD, MetaImage, PNG or JPEG files, or DICOM series.
        out: Folder to write to; made if absent.
        encoder: Which of several encoders of the run: name of its stage.
        series: UID of the DICOM series to take where folders hold several.
        workers: Cases read ahead at the same time.
        changes: To the data part of the training, which says how files are prepared: `like=1`, say.
        device: "auto", "cpu" or "cuda".

    Returns:
        The folder written to.

    Raises:
        ConfigError: `out` is `images`, lies in it, or already holds features; a change does not fit.
        CasesFailed: At the end, with a line for each case that failed.
    """
    images, out = Path(images), Path(out)
    check_out(out, images, workers)
    console = terminal.console()
    folder = find_encoder(Path(run), encoder)
    model: Any = load_encoder(folder)
    if changes:
        model.preprocess = model.preprocess.changed(changes)
    files, rest = formats.find_cases(images, series)
    if rest:
        console.print(f"left out, of no kind that is read: {', '.join(path.name for path in rest)}")
    check_is_free(out, ("cases", "slices"))
    out.mkdir(parents=True, exist_ok=True)  # before the work, so that a place that takes no files is told in time
    model.to(pick_device(device))
    rows: list[tuple[str, np.ndarray]] = []
    try:
        rows, failed = _encode_all(model, files, workers, console)
    finally:
        if not rows and not any(out.iterdir()):
            out.rmdir()
    if rows:
        write_features(out, _tables(rows))
        console.print(f"{len(rows)} cases, {model.out_dim} numbers each -> {out}")
    report_failed(failed, len(files))
    return out


def check_is_free(out: Path, tables: Sequence[str]) -> None:
    """Raise ConfigError where `out` holds features already."""
    present = [path.name for name in tables for path in sorted(out.glob(f"{name}.*"))]
    if present:
        raise ConfigError(f"--out {out}: already holds {', '.join(present)}; choose another folder.")


def find_encoder(run: Path, name: str | None = None) -> Path:
    """The folder of an encoder: `run` itself, or that of the last stage of a run that trained one, or of a named stage.

    Raises:
        CheckpointError: There is none, or none of that name.
    """
    if (run / FACTS).exists() or (run / HF_FACTS).exists():
        return run
    if not (run / "pipeline.yaml").exists():
        raise CheckpointError(
            f"{run}: holds neither {FACTS} nor pipeline.yaml, expected an encoder's or a run's folder."
        )
    stages = list(config.load(run / "pipeline.yaml").stages)
    found = {stage: run / stage / "encoder" for stage in stages if (run / stage / "encoder" / FACTS).exists()}
    arms = sorted(path.parent.relative_to(run).as_posix() for path in run.glob("*/*/encoder") if path.is_dir())
    found = {arm: run / arm / "encoder" for arm in arms} | found
    if not found:
        raise CheckpointError(f"{run}: no stage of the run has trained an encoder yet. Let it finish one.")
    if name is not None and name not in found:
        raise CheckpointError(f"{run}: no encoder is called {name!r}. There are: {', '.join(found)}.")
    return found[name] if name is not None else list(found.values())[-1]


def write_features(out: Path, tables: Mapping[str, Table]) -> None:
    """Write `NAME.npy` and `NAME.parquet` of each table to `out`: all of them, or none. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as files:
            for name, (ids, features) in tables.items():
                np.save(files.enter_context(whole(out / f"{name}.npy")), features)
                flat = pa.array(features.reshape(-1), type=pa.float32())
                table = pa.table({**ids, "embedding": pa.FixedSizeListArray.from_arrays(flat, features.shape[1])})
                parquet.write_table(table, files.enter_context(whole(out / f"{name}.parquet")))
    finally:
        if not any(out.iterdir()):
            out.rmdir()


def _encode_all(
    model: Any, files: Sequence[CaseFile], workers: int, console: Console
) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
    """Each case with its rows (n, d), and the message of each that failed."""
    rows: list[tuple[str, np.ndarray]] = []
    failed: dict[str, str] = {}
    for file, prepared in read_ahead(files, model.preprocess.images, workers):
        try:
            rows.append((file.id, _encode(model, prepared(), file)))
        except CheckpointError:
            raise  # nothing is wrong with this case: no case can be prepared
        except TROUBLE as error:
            failed[file.id] = str(error)
            console.print(f"{file.id}: failed")
    return rows, failed


@torch.no_grad()
def _encode(model: Any, images: torch.Tensor, file: CaseFile) -> np.ndarray:
    if images.shape[-3 if model.spatial_dims == 2 else -4] != model.in_channels:
        raise DataError(f"{file.path}: has {images.shape[-3]} channels, but the encoder takes {model.in_channels}.")
    device = next(model.parameters()).device
    parts = [model(part.to(device)) for part in images.split(_AT_ONCE)]
    return torch.cat(parts).float().cpu().numpy()


def _tables(rows: Sequence[tuple[str, np.ndarray]]) -> dict[str, Table]:
    found: dict[str, Table] = {
        "cases": ({"case": [name for name, _ in rows]}, np.stack([features.mean(axis=0) for _, features in rows]))
    }
    if any(len(features) > 1 for _, features in rows):
        case = [name for name, features in rows for _ in features]
        number = [index for _, features in rows for index in range(len(features))]
        found["slices"] = ({"case": case, "slice": number}, np.concatenate([features for _, features in rows]))
    return found
