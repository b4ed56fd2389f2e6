"""Which run folder a pipeline goes on in, and what that was made with, so that no override is forgotten on the way."""

from collections.abc import Iterable
from pathlib import Path
from shlex import join, quote

from medgraph import config
from medgraph.config.schema import Pipeline
from medgraph.errors import ConfigError
from medgraph.runner.folder import read_environment

DESCRIBED = "pipeline.yaml"


def find(pipeline: Pipeline) -> Path | None:
    """The newest folder below `runs/` that holds this very run; else the newest of this pipeline with these overrides.

    Without overrides, and without such a folder, the newest of this pipeline: `overrides_in` tells what it was made
    with. None where there is none of these. Raises CheckpointError for a damaged one.
    """
    files = Path("runs").glob(f"{pipeline.name}-*/environment.json")
    told = {file.parent: read_environment(file.parent) for file in sorted(files, key=_modified, reverse=True)}
    folders = {folder: facts["overrides"] for folder, facts in told.items() if facts["pipeline"] == pipeline.name}
    same = (folder for folder in folders if _is_same(folder, (), pipeline))
    alike = (folder for folder, overrides in folders.items() if overrides == list(pipeline.overrides))
    others = iter(() if pipeline.overrides else folders)
    return next(same, None) or next(alike, None) or next(others, None)


def overrides_in(folder: Path, pipeline: Pipeline) -> tuple[str, ...]:
    """All overrides of a pipeline that goes on in a run folder, those included that the stored pipeline has inside.

    Raises:
        ConfigError: The folder holds a run of another pipeline, or of overrides that are not given again.
        CheckpointError: What it tells of its run is damaged.
    """
    earlier = read_environment(folder)
    if earlier["pipeline"] != pipeline.name:
        raise ConfigError(
            f"--out {folder}: holds a run of {earlier['pipeline']!r}, not of {pipeline.name!r}. Choose another --out."
        )
    missing = [override for override in earlier["overrides"] if not _is_given(override, pipeline.overrides)]
    if missing and not _is_same(folder, pipeline.overrides, pipeline):
        raise ConfigError(
            f"{folder}: holds a run with {join(missing)}, which would be thrown away. Go on with it by `medgraph run "
            f"{quote(str(folder / DESCRIBED))} --resume --out {quote(str(folder))}`, give these overrides again, or "
            "leave out --resume and choose another --out."
        )
    return (*missing, *pipeline.overrides)


def _is_same(folder: Path, overrides: tuple[str, ...], pipeline: Pipeline) -> bool:
    """Whether what the folder was made with, so changed, is the pipeline."""
    try:
        stored = config.load(folder / DESCRIBED, overrides)
    except ConfigError:  # of another version, or without the encoder that it starts from
        return False
    mine, theirs = ({stage.name: stage.digest for stage in each.stages.values()} for each in (pipeline, stored))
    return mine == theirs


def _is_given(override: str, given: Iterable[str]) -> bool:
    """Whether an override is among those given, with whatever value, or what stands above it."""
    key = override.partition("=")[0]
    return any(f"{key}.".startswith(other.partition("=")[0] + ".") for other in given)


def _modified(file: Path) -> int:
    return file.parent.stat().st_mtime_ns
