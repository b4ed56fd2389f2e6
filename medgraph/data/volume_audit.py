"""What a source of volumes holds: parts, pairing with labels, geometry, and files that are the same."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from medgraph.data import formats
from medgraph.data.cases import Source
from medgraph.data.splits import PARTS


def volume_lines(source: Source) -> list[str]:
    """The audit as lines of text. Headers are read for the geometry, whole files to find equal ones."""
    cases = source.cases
    lines = []
    for part in PARTS:
        mine = [case for case in cases if case.part == part]
        labelled = sum(case.label is not None for case in mine)
        subjects = len({case.subject for case in mine})
        lines.append(f"part   {part:10} {len(mine):>5} volumes of {subjects} subjects, {labelled} with labels")
    grids = [formats.read_grid(case.image) for case in cases]
    for name, values in (("shape", [g.ras_shape for g in grids]), ("spacing", [g.ras_spacing for g in grids])):
        table = np.array(values, dtype=float)
        low, high = (" x ".join(f"{value:g}" for value in ends) for ends in (table.min(axis=0), table.max(axis=0)))
        lines.append(
            f"grid   {name} {low} to {high} (right x anterior x superior), {len(np.unique(table, axis=0))} different"
        )
    lines.append(f"labels {', '.join(source.classes) or 'no classes named'}")
    same = _same_files([case.image for case in cases if case.image.is_file()])
    lines += [f"same   {' = '.join(path.name for path in group)}" for group in same]
    parts = {case.image: case.part for case in cases}
    leaks = [group for group in same if len({parts[path] for path in group}) > 1]
    lines.append(f"leak   {len(leaks)} images lie in two parts" if leaks else "leak   no image lies in two parts")
    return lines


def _same_files(files: list[Path]) -> list[list[Path]]:
    """Groups of files with the same bytes; only files of the same size are read."""
    sizes = Counter(file.stat().st_size for file in files)
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if sizes[file.stat().st_size] > 1:
            groups[hashlib.sha256(file.read_bytes()).hexdigest()].append(file)
    return [group for group in groups.values() if len(group) > 1]
