"""What `medgraph data` prints: finds out what kind of data a path or a source is, and has it described."""

import glob
from pathlib import Path
from typing import Any

from medgraph.data.folder import FolderSource, any_case
from medgraph.data.formats import VOLUME_SUFFIXES
from medgraph.data.itk import list_series
from medgraph.data.listing import matching
from medgraph.data.pixels import SUFFIXES
from medgraph.data.spec import ImageSpec
from medgraph.data.splits import PARTS
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
        names = [file.name.lower() for file in matching(path, "**/*")]
        suffix = next((suffix for suffix in VOLUME_SUFFIXES if any(name.endswith(suffix) for name in names)), None)
        if suffix is not None:
            ending = ".nii*" if suffix.startswith(".nii") else suffix
            if (path / "images").is_dir() and (path / "labels").is_dir():
                return _folder(path, f"images/*{ending}", f"labels/*{ending}")
            return _folder(path, f"**/*{ending}")
        if any(name.endswith(SUFFIXES) for name in names):
            from medgraph.data.images import ImageFolderData

            if (path / "labels.csv").is_file():
                return ImageFolderData(str(path))
            inner = path / "images"
            return ImageFolderData(str(inner if inner.is_dir() else path), labels=None)
        if list_series(path):
            return _folder(path.resolve().parent, glob.escape(path.resolve().name))
        if any(list_series(folder) for folder in path.iterdir() if folder.is_dir()):
            return _folder(path, "*/")
    raise DataError(
        f"{path}: neither a graph (edge lists like pa.txt, a .npz of save_graph, a .pt of PyG) nor volumes or images "
        "(NIfTI, NRRD, MetaImage, PNG or JPEG files, DICOM series, a dataset.json). Tables of your own are described "
        "in a pipeline: give its name instead."
    )


def lines(source: Any, **settings: Any) -> list[str]:
    """The audit of a source as lines of text; `settings` of a graph are those of `graph_lines`.

    Raises:
        DataError: The kind of source has none.
    """
    if hasattr(source, "structure"):
        from medgraph.data.graph_audit import graph_lines

        return [repr(source), *graph_lines(source.structure, source.spec, **settings)]
    if hasattr(source, "cases") or hasattr(source, "files"):
        from medgraph.data.volume_audit import volume_lines

        return [_named(source), *volume_lines(source)]
    spec = getattr(source, "spec", None)
    if isinstance(spec, ImageSpec):  # arrays in one file, or examples that are made
        shape = " x ".join(map(str, (spec.channels, *spec.size)))
        told = [f"labels {', '.join(spec.classes) or spec.target or 'no classes named'}"]
        told += [f"known  {', '.join(spec.attributes)}"] if spec.attributes else []
        return [_named(source), f"part   train      {spec.num_examples:>5} examples of {shape}", *told]
    raise DataError(f"{source!r}: has neither a graph nor volumes or images to describe.")


def _folder(root: Path, images: str, labels: str | None = None) -> Any:
    """A source of volumes; with fewer than three, which cannot be split, all of them are for training."""
    if len(matching(root, any_case(images))) < len(PARTS):
        return FolderSource(str(root), images, labels, fractions=(1.0, 0.0, 0.0))
    return FolderSource(str(root), images, labels)


def _named(source: Any) -> str:
    """A source as it would be written in Python, as far as it tells."""
    if type(source).__repr__ is not object.__repr__:
        return repr(source)
    places = {key: getattr(source, key, None) for key in ("root", "path")}
    return f"{type(source).__name__}({', '.join(f'{key}={str(place)!r}' for key, place in places.items() if place)})"
