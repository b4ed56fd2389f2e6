"""Labels that a trained network gives to the training volumes whose own are not used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph.errors import CheckpointError
from medgraph.method import Method
from medgraph.runner import checkpoint
from medgraph.runner.model import Model
from medgraph.runner.predict import write_labels
from medgraph.runner.train import pick_device

_INDEX = "labels.json"  # comes last


def are_written(folder: Path) -> bool:
    """Whether `write` has finished in a folder."""
    return (folder / _INDEX).exists()


def write(method: Method, data: Any, folder: Path, device: str, console: Console) -> None:
    """Write the most probable class of each voxel of every unlabelled training volume, in its own grid.

    Args:
        method: Segments; left in eval mode, on the device.
        data: Component of the table `data` with `unlabelled_cases`.
        folder: Gets a file for each volume, and the list of them last.
        device: As of a run.
        console: Where it is told if a volume is done in slabs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = Model(method.eval().to(pick_device(device)), data, data.spec, {}, folder)
    names = {}
    for number, case in enumerate(data.unlabelled_cases()):
        whole = data.whole(case)
        file = replace(whole.file, id=f"{number:05d}-{whole.file.id}")  # files of several folders may share a name
        names[case.id] = write_labels(model, replace(whole, file=file), folder, console)
    checkpoint.write_json(folder / _INDEX, {"labels": names})


def read(folder: Path, data: Any) -> dict[str, Path]:
    """The label file of each unlabelled training volume, by the id of its case. Raises CheckpointError."""
    advice = f"Remove {folder}, and go on with the run by --resume."
    names = _index(folder, advice)
    cases = {case.id for case in data.unlabelled_cases()}
    if set(names) != cases or not all(isinstance(name, str) and (folder / name).is_file() for name in names.values()):
        raise CheckpointError(
            f"{folder / _INDEX}: expected a label file for each of {len(cases)} unlabelled training volumes. {advice}"
        )
    return {case: folder / name for case, name in names.items()}


def told(path: Path) -> dict[str, int]:
    """What self-training in the folder of a training did, as facts for its card: rounds, and volumes labelled."""
    rounds = [folder for folder in path.glob("round-*/labels") if are_written(folder)]
    return {"rounds": len(rounds), "pseudo_labelled": len(_index(rounds[0], ""))} if rounds else {}


def _index(folder: Path, advice: str) -> dict[str, Any]:
    return checkpoint.read_json(folder / _INDEX, {"labels": dict}, advice)["labels"]
