"""Under what licence the data of a training came, as their source or the files beside them say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medgraph.data.fingerprint import parts

_LONGEST = 160  # characters of the first lines that are kept


def licences(data: Any) -> list[str]:
    """The licences of a component of the table `data`, as far as anything names them; empty where nothing does.

    What a source says comes first: `licence` of a folder or manifest, of a `dataset.json`. Else the first lines of a
    file LICENSE or LICENCE beside the data.
    """
    return list(dict.fromkeys(word for word in _found(data) if word))


def _found(data: Any) -> Iterator[str]:
    inner = parts(data)
    for part in inner:
        yield from _found(part)
    if inner:
        return
    sources = [getattr(data, "source", None), *(getattr(data, "sources", None) or ())]
    for source in [source for source in sources if source is not None] or [data]:
        yield getattr(source, "licence", "") or _beside(_place(source))


def _place(source: Any) -> Path | None:
    """The folder or file that a source reads."""
    folder = getattr(source, "folder", source)
    name = getattr(folder, "root", None) or getattr(folder, "path", None)
    return Path(name).expanduser() if isinstance(name, str) else None


def _beside(place: Path | None) -> str:
    if place is None:
        return ""
    folder = place if place.is_dir() else place.parent
    files = sorted(file for file in folder.glob("LICEN[CS]E*") if file.is_file()) if folder.is_dir() else []
    if not files:
        return ""
    lines = (line.strip(" #*\t") for line in files[0].read_text(encoding="utf-8", errors="replace").splitlines())
    first = " ".join([line for line in lines if line][:2])
    return f"{first[:_LONGEST]} ({files[0].name} beside the data)" if first else ""
