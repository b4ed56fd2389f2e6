"""What an unfinished stage began with, so that it goes on with the same or not at all: its config and its cases."""

from pathlib import Path
from typing import Any

from medgraph import processes
from medgraph.data.fingerprint import identity
from medgraph.errors import DataError
from medgraph.runner import checkpoint

FILE = "begun.json"


def digest_begun(folder: Path) -> str | None:
    """Hash of the config that a stage's folder was begun with; None where none was. Raises CheckpointError."""
    return _read(folder)["digest"] if (folder / FILE).exists() else None


def begin(folder: Path, digest: str) -> None:
    """Note the hash of the config that a stage begins with."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(folder / FILE, {"digest": digest})


def keep_to_cases(folder: Path, data: Any) -> None:
    """Note the cases that a stage begins with; where it began before, make sure that they are the same still.

    A folder that was begun before cases were noted takes those of now.

    Args:
        folder: Of the stage; without a note of its beginning, nothing is done.
        data: Component of the table `data`, which may be asked for fewer labels than the stage's.

    Raises:
        DataError: The cases are others. Tells how many there were and are.
    """
    trouble = processes.from_main(_trouble(folder, data) if processes.is_main() else None)
    if trouble is not None:
        raise DataError(trouble)


def _trouble(folder: Path, data: Any) -> str | None:
    now = identity(data)
    if now is None or not (folder / FILE).exists():
        return None
    begun = _read(folder)
    then = begun.get("cases")
    if not isinstance(then, dict):
        checkpoint.write_json(folder / FILE, {**begun, "cases": now})
        return None
    if then == now:
        return None
    counts = f"{then.get('count')} cases, and there are {now['count']} now"
    if then.get("count") == now["count"]:
        counts = (
            f"{now['count']} cases, and there are as many now, but other ones, in other parts or of another size; of a "
            "graph, with other edges or features"
        )
    return (
        f"{folder / FILE}: stage {folder.name} began with {counts}. An unfinished stage goes on with its own cases "
        f"only: bring them back, or remove {folder} to run the stage anew, or choose another --out."
    )


def _read(folder: Path) -> dict[str, Any]:
    advice = f"Remove {folder} to run the stage anew, or take the file from a copy of the run."
    return checkpoint.read_json(folder / FILE, {"digest": str}, advice)
