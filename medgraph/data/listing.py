"""What lies below a folder: linked folders are looked into, hidden files and folders are not."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from medgraph.errors import DataError


def matching(root: Path, pattern: str) -> list[Path]:
    """What a glob finds below a folder, sorted; `**/` stands for any folders. Nothing hidden is found unless named."""
    head, any_depth, tail = (f"{pattern}/" if pattern.endswith("**") else pattern).partition("**/")
    if not any_depth:
        return sorted({root / name for name in glob.glob(pattern, root_dir=root)}) if pattern else [root]
    bases = [base for base in matching(root, head) if base.is_dir()]
    return sorted({path for base in bases for folder in _folders(base) for path in matching(folder, tail)})


def check_name(path: Path) -> Path:
    """A path that is UTF-8. Raises DataError for one that no table can hold, and on which ITK ends the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise DataError(f"{shown}: this path is not UTF-8, expected one that a table can hold. Rename it.") from None
    return path


def _folders(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The folder and all below it; a link to one that leads here is not followed."""
    real = folder.resolve()
    if real in above:
        return
    yield folder
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            yield from _folders(path, (*above, real))
