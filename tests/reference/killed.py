"""A run that ends early on purpose, at the same step on however fast a machine.

It is killed in the second epoch of one stage, after a checkpoint of the first; or asked to stop in its first step.
"""

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


def run_asked_to_stop(rank: int) -> None:
    """`medgraph` with the arguments of this process; that rank alone is asked to stop during the first step."""
    step = train._Loop._step

    def step_and_ask(loop, batch, views, number):
        if number.number == 0 and loop.accelerator.process_index == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(loop, batch, views, number)

    train._Loop._step = step_and_ask
    cli.main()


def position(folder: Path) -> dict:
    """Where the checkpoint of a stage stands."""
    (file,) = folder.rglob(checkpoint.FILE)
    return json.loads(checkpoint.read_tensors(file)[1]["facts"])["position"]
