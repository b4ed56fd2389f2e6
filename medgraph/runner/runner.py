"""Run a pipeline: stages in order, each from what an earlier one left, finished ones skipped."""

import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from shlex import quote

import torch
from accelerate import PartialState
from rich.text import Text

from medgraph import config, files, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import ConfigError
from medgraph.runner import begun, checkpoint, resumed, terminal
from medgraph.runner.card import write_cards
from medgraph.runner.choose import choose_stage
from medgraph.runner.compare import compare_stage
from medgraph.runner.evaluate import evaluate_stage
from medgraph.runner.folder import RunFolder
from medgraph.runner.stage import train_stage
from medgraph.runner.summary import finish
from medgraph.runner.train import Stopped, pick_device

KINDS = {"train": train_stage, "evaluate": evaluate_stage, "compare": compare_stage}


def run(pipeline: Pipeline, out: Path | None = None, device: str = "auto", resume: bool = False) -> Path:
    """Run every stage of a checked pipeline that is not finished yet.

    Args:
        pipeline: From `medgraph.config.load`.
        out: Run folder; default `runs/<pipeline>-<date>`, with `resume` the newest one that holds this run, or one of
            that pipeline with these overrides.
        device: "auto", "cpu" or "cuda".
        resume: Go on in a folder that already holds this run. A stage whose config changed runs again, as do all that
            start from it. An override that the folder was made with must be given again, with whatever value, unless
            the pipeline is the folder's own `pipeline.yaml`.

    Returns:
        The run folder.

    Raises:
        ConfigError: The device is not there; the folder cannot be written or holds another run, or one with overrides
            that are not given again.
        Stopped: SIGTERM while training, or Ctrl-C at any time, came; says how to go on.
    """
    device = str(pick_device(device))
    with _together(device):
        return _run(pipeline, out, device, resume)


def _run(pipeline: Pipeline, out: Path | None, device: str, resume: bool) -> Path:
    is_main = processes.is_main()
    folder = RunFolder(processes.from_main(_open_folder(pipeline, out, resume) if is_main else None))
    console = terminal.console(quiet=not is_main)
    console.print(Text.assemble((pipeline.name, "bold"), f" -> {folder.path}"))
    start = time.monotonic()
    for stage in pipeline.stages.values():
        if processes.from_main(is_main and _is_finished(folder, stage)):
            console.print(Text.assemble((stage.name, "bold"), ": finished before, skipped"))
            continue
        if is_main and _clear_if_changed(folder, stage):
            console.print(Text.assemble((stage.name, "bold"), ": has changed since, what it had left is thrown away"))
        processes.wait()
        console.print(Text.assemble((stage.name, "bold"), f" ({stage.kind})"))
        try:
            if is_main or stage.kind != "evaluate":
                run = KINDS[stage.kind] if stage.choose is None else choose_stage
                run(stage, pipeline, folder, device, console)
        except (Stopped, KeyboardInterrupt) as stopped:
            raise Stopped(
                f"{str(stopped) or f'{stage.name}: interrupted.'} Nothing is lost: go on with\n"
                f"  medgraph run {quote(str(folder.path / 'pipeline.yaml'))} --resume --out {quote(str(folder.path))}"
            ) from stopped
        if is_main:
            checkpoint.write_json(folder.stage(stage.name) / "done.json", {"digest": stage.digest})
        processes.wait()
    if is_main:
        write_cards(pipeline, folder)
        finish(pipeline, folder, console, seconds=time.monotonic() - start)
    return folder.path


@contextmanager
def _together(device: str) -> Iterator[None]:
    """Join the other processes, where `torchrun` or `accelerate launch` started several.

    One of them evaluates, exports and writes, however long that takes; the others wait for it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or processes.world_size() > 1:
        yield
        return
    PartialState(cpu=device == "cpu", timeout=timedelta(days=7))
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _open_folder(pipeline: Pipeline, out: Path | None, resume: bool) -> Path:
    if out is None:
        out = resumed.find(pipeline) if resume else None
    if out is None:
        out = Path("runs") / f"{pipeline.name}-{datetime.now():%Y%m%d-%H%M%S}"
    out = Path(out)
    described = out / resumed.DESCRIBED
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; expected a folder.")
    if out.exists() and any(out.iterdir()):
        if not resume:
            raise ConfigError(f"--out {out}: already holds a run. Go on with it by --resume, or choose another --out.")
        if not described.exists():
            raise ConfigError(f"--out {out}: is not empty and holds no pipeline.yaml, so it is no run of ours.")
        pipeline = replace(pipeline, overrides=resumed.overrides_in(out, pipeline))
    try:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(out / "environment.json", _environment(pipeline))
        with files.whole(described) as temporary:
            temporary.write_text(config.resolved(pipeline), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--out {out}: cannot be written ({error.strerror}). Choose a folder you may write to."
        ) from error
    return out


def _environment(pipeline: Pipeline) -> dict[str, object]:
    packages = ("medgraph", "torch", "monai", "nibabel", "numpy", "accelerate", "scikit-learn")
    return {
        "pipeline": pipeline.name,
        "seed": pipeline.seed,
        "overrides": list(pipeline.overrides),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def _is_finished(folder: RunFolder, stage: Stage) -> bool:
    done, advice = folder.stage(stage.name) / "done.json", "Remove it, and the stage goes on from its last checkpoint."
    return done.exists() and checkpoint.read_json(done, {"digest": str}, advice)["digest"] == stage.digest


def _clear_if_changed(folder: RunFolder, stage: Stage) -> bool:
    """Throw away what another config left in the stage's folder, and tell so; keep this one's checkpoints."""
    path = folder.stage(stage.name)
    is_begun = begun.digest_begun(path) == stage.digest
    is_other = path.exists() and not is_begun
    if is_other:
        shutil.rmtree(path)
    if not is_begun:
        begun.begin(path, stage.digest)
    return is_other
