"""What `medgraph data` prints: finds out what kind of data a path or a source is, and has it described."""

from pathlib import Path
from typing import Any

from medgraph.data.formats import VOLUME_SUFFIXES
from medgraph.errors import DataError


def recognize(path: Path) -> Any:
    """The source of a folder or file, told by what lies in it. Raises DataError for what no source reads."""
    if path.is_file() and path.suffix in (".npz", ".pt"):
        from medgraph.data.saved_graph import SavedGraph

        return SavedGraph(str(path))
    if path.is_dir():
        if (path / "dataset.json").is_file():
            from medgraph.data.decathlon import DecathlonSource

            return DecathlonSource(str(path))
        if any(path.glob("??.txt")):
            from medgraph.data.heco_folder import HeCoGraph

            return HeCoGraph(str(path))
        suffix = next((suffix for suffix in VOLUME_SUFFIXES if next(path.rglob(f"*{suffix}"), None)), None)
        if suffix is not None:
            from medgraph.data.folder import FolderSource

            ending = ".nii*" if suffix.startswith(".nii") else suffix
            if (path / "images").is_dir() and (path / "labels").is_dir():
                return FolderSource(str(path), images=f"images/*{ending}", labels=f"labels/*{ending}")
            return FolderSource(str(path), images=f"**/*{ending}")
    raise DataError(
        f"{path}: neither a graph (edge lists like pa.txt, a .npz of save_graph, a .pt of PyG) nor volumes "
        "(NIfTI, NRRD or MetaImage files, a dataset.json). Tables of your own are described in a pipeline: give its "
        "name instead."
    )


def lines(source: Any, **settings: Any) -> list[str]:
    """The audit of a source as lines of text; `settings` of a graph are those of `graph_lines`.

    Raises:
        DataError: The kind of source has none.
    """
    if hasattr(source, "structure"):
        from medgraph.data.graph_audit import graph_lines

        return [repr(source), *graph_lines(source.structure, source.spec, **settings)]
    if hasattr(source, "cases"):
        from medgraph.data.volume_audit import volume_lines

        return [repr(source), *volume_lines(source)]
    raise DataError(f"{source!r}: has neither a graph nor volumes to describe.")
