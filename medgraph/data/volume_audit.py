"""What a source of volumes or images holds: parts, pairing with labels, geometry, and files that are the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgraph.data import formats
from medgraph.data.cases import Case
from medgraph.data.splits import PARTS
from medgraph.files import content_hash

_AXES = "right x anterior x superior"


def volume_lines(source: Any) -> list[str]:
    """The audit as lines of text. Headers are read for the geometry, whole files to find equal ones.

    Args:
        source: Has `cases`, or `files` of images or of two groups.
    """
    cases = source.cases if hasattr(source, "cases") else _cases(getattr(source, "folder", source).files)
    flat = all(formats.case_file(case.image).kind == "image" for case in cases)
    what = "images" if flat else "volumes"
    lines = []
    for part in PARTS:
        mine = [case for case in cases if case.part == part]
        labelled = sum(case.label is not None for case in mine)
        subjects = len({case.subject for case in mine})
        lines.append(f"part   {part:10} {len(mine):>5} {what} of {subjects} subjects, {labelled} with labels")
    grids = [formats.read_grid(case.image) for case in cases]
    if flat:
        lines.append(_extent("shape", [grid.shape[:2] for grid in grids], "height x width"))
    else:
        lines.append(_extent("shape", [grid.ras_shape for grid in grids], _AXES))
        lines.append(_extent("spacing", [grid.ras_spacing for grid in grids], _AXES))
    if any(hasattr(file, "is_target") for file in getattr(source, "files", ())):
        of_target = sum(file.is_target for file in source.files)
        lines.append(f"groups {len(cases) - of_target} background, {of_target} target")
    lines.append(f"labels {', '.join(getattr(source, 'classes', ())) or 'no classes named'}")
    same = _same_files(sorted({case.image for case in cases}))
    lines += [f"same   {' = '.join(path.name for path in group)}" for group in same]
    parts = {case.image: case.part for case in cases}
    leaks = [group for group in same if len({parts[path] for path in group}) > 1]
    lines.append(f"leak   {len(leaks)} images lie in two parts" if leaks else "leak   no image lies in two parts")
    return lines


def _cases(files: Sequence[Any]) -> list[Case]:
    """Files of images or of groups as cases; a class counts as a label."""
    found = []
    for file in files:
        path = file.path if hasattr(file, "path") else file.file
        label = path if getattr(file, "label", None) is not None else None
        found.append(Case(path.name, getattr(file, "subject", str(path)), path, label, file.part))
    return found


def _extent(name: str, values: Sequence[Sequence[float]], axes: str) -> str:
    table = np.array(values, dtype=float)
    low, high = (" x ".join(f"{value:g}" for value in ends) for ends in (table.min(axis=0), table.max(axis=0)))
    return f"grid   {name} {low} to {high} ({axes}), {len(np.unique(table, axis=0))} different"


def _same_files(images: Sequence[Path]) -> list[list[Path]]:
    """Groups of images whose files, as all slices of a series, hold the same bytes. Only those of one size are read."""
    files = {image: [file for file in formats.files_of(image) if file.is_file()] for image in images}
    sizes = {image: tuple(sorted(file.stat().st_size for file in mine)) for image, mine in files.items()}
    counts = Counter(sizes.values())
    groups: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for image, mine in files.items():
        if mine and counts[sizes[image]] > 1:
            groups[tuple(sorted(content_hash(file) for file in mine))].append(image)
    return [group for group in groups.values() if len(group) > 1]
