"""Several networks of one train stage, from different seeds, and what joins them: an encoder, and a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.data.spec import spec_from_dict
from medgraph.runner import checkpoint
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.export import export_encoder, load_encoder
from medgraph.runner.fitting import train_into
from medgraph.runner.model import committee_of, export_model, load_model

_LAST = "done.json"  # of a member's folder


def train_members(
    path: Path,
    stage: Stage,
    pipeline: Pipeline,
    data: Any,
    start: Path | None,
    device: str,
    console: Console,
    first: Path | None = None,
) -> None:
    """Train every member of a stage that is not finished yet, then join them in `path/encoder` and `path/model`.

    Members share data and start; member k is drawn and trained from the pipeline's seed + k - 1, on a graph with masks
    of its own.

    Args:
        path: Of the stage; a member lies in `path/member-2`.
        stage: What is trained, `stage.train.members` times.
        pipeline: Gives the seed.
        data: The stage's data.
        start: Encoder that each starts from.
        device: As of a run.
        console: Where progress is told.
        first: Folder of the first member, where it is trained already.
    """
    folders = [path / f"member-{number}" for number in range(1, stage.train.members + 1)]
    if first is not None:
        folders[0] = first
    for index, folder in enumerate(folders):
        if folder == first:
            continue
        if processes.from_main((folder / _LAST).exists()):
            console.print(f"  {folder.name}: finished before, skipped")
            continue
        seed = pipeline.seed + index
        console.print(f"  {folder.name}, seed {seed}")
        seen = data.of_member(index) if hasattr(data, "of_member") else data
        train_into(folder, stage, seen, start, pipeline, seed, device, console)
        if processes.is_main():
            checkpoint.write_json(folder / _LAST, {"seed": seed})
        processes.wait()
    if processes.is_main():
        _join(path, stage, folders)


def _join(path: Path, stage: Stage, members: list[Path]) -> None:
    """Export the members as one encoder and, where they predict, one model, with the facts of the first.

    Raises:
        CheckpointError: What a member left cannot be read.
    """
    told = read_facts(members[0] / "encoder")
    spec = spec_from_dict(told["spec"])
    ensemble = config.build(stage.encoder, "encoders", spec=spec)
    for own, member in zip(ensemble.encoders, members, strict=True):
        own.load_state_dict(load_encoder(member / "encoder").state_dict())
    export_encoder(path / "encoder", ensemble, stage.encoder, spec, told["facts"])
    if all((member / "model").exists() for member in members):
        models = [load_model(member / "model") for member in members]
        committee = committee_of([model.method for model in models], spec)
        as_trained = replace(stage, data=told["facts"]["data"])
        export_model(path / "model", committee, as_trained, spec, models[0].facts)
