"""A run that is killed in the second epoch of one stage, after a checkpoint of the first, on however fast a machine."""

import json
import os
import signal
import sys
from pathlib import Path

from medgraph import cli
from medgraph.runner import checkpoint, train

START = "import sys; sys.path.insert(0, {!r})\nfrom reference.killed import run\nrun({!r})"


def command(stage: str, *arguments: str) -> list[str]:
    """The command that runs `medgraph` with these arguments and is killed in that stage."""
    return [sys.executable, "-c", START.format(str(Path(__file__).parents[1]), stage), *arguments]


def run(stage: str) -> None:
    """What the command does: the next checkpoint after that of the first epoch is never written."""
    save = checkpoint.save

    def save_or_die(folder, model, optimizer, position, average):
        if stage in folder.parts and position.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        save(folder, model, optimizer, position, average)

    checkpoint.save, train._SAVE_SECONDS = save_or_die, 0.0  # else short epochs leave one checkpoint, of the last
    cli.main()


def epochs_done(folder: Path) -> int:
    """Epochs that the checkpoint of a stage has finished."""
    (file,) = folder.rglob(checkpoint.FILE)
    return json.loads(checkpoint.read_tensors(file)[1]["facts"])["position"]["epoch"]
