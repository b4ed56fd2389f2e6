"""medgraph: self-supervised contrastive learning on medical images and heterogeneous graphs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medgraph.config import Pipeline

__version__ = "0.1.0"
__all__ = ["__version__", "check", "load_encoder", "run"]


def run(
    name: str | Path,
    overrides: tuple[str, ...] | list[str] = (),
    out: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
) -> Any:
    """Check a pipeline, then run it stage after stage; what `medgraph run` does.

    Args:
        name: Name of a shipped pipeline, or path of a pipeline file.
        overrides: Changes to the configs, `"pretrain.train.epochs=2"`.
        out: Run folder; a new one below `runs/` when left out.
        device: "auto", "cpu" or "cuda".
        resume: Go on in a run folder that holds an unfinished run of the same pipeline.
    """
    from medgraph.errors import DataError

    pipeline, notes = check(name, overrides)
    if notes:
        raise DataError("\n".join(notes))
    from medgraph.runner.runner import run as run_pipeline

    return run_pipeline(pipeline, out=None if out is None else Path(out), device=device, resume=resume)


def check(name: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> "tuple[Pipeline, list[str]]":
    """The checked pipeline, and a note for every stage whose data are not there, so that it was not checked with them.

    Raises ConfigError with one line for every mistake. Keys, types and ranges are judged first, without importing
    torch; then every part is built without memory, to find values that do not work together or with the data.
    """
    from medgraph import config

    pipeline = config.load(name, overrides)
    notes = config.dry_build(pipeline)
    from medgraph.runner.handover import check_handovers

    check_handovers(pipeline)
    return pipeline, notes


def load_encoder(path: str | Path) -> Any:
    """The encoder (an nn.Module in evaluation mode) of an `encoder/` folder that a run exported."""
    from medgraph.runner.export import load_encoder as load

    return load(Path(path))
