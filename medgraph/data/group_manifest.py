"""A CSV file that names the group of each image: subject, image, group, and what else is known."""

import math
import os
from functools import cached_property
from pathlib import Path

from medgraph import checks
from medgraph.data.csv_rows import read_rows
from medgraph.data.grouped import Attribute
from medgraph.data.grouped_files import GroupedFile
from medgraph.data.missing import MISSING
from medgraph.data.splits import PARTS, check_disjoint, split_subjects
from medgraph.errors import DataError

_PART_OF_WORD = {part: part for part in PARTS} | {"val": "validation"}
_GROUPS = {"background": False, "target": True}


class GroupManifestSource:
    """A CSV file with the columns `subject`, `image`, `group` (background or target) and, where there is, `split`.

    Paths are relative to the CSV file. Any other column may be an attribute to be probed: it is a number where all its
    values are, else a category. A cell that is empty, or says NA as other programs do, see `missing`, is not known.
    Without `split`, subjects are split by fixed fractions.

    Args:
        path: The CSV file.
        common_attributes: Columns that vary in both groups alike, e.g. age.
        salient_attributes: Columns that vary in targets only, e.g. a symptom score.
        fractions: Fractions of subjects in train, validation and test, without the column `split`.
        split_seed: Draws that split; independent of the seed of a run.
    """

    def __init__(
        self,
        path: str,
        common_attributes: tuple[str, ...] = (),
        salient_attributes: tuple[str, ...] = (),
        fractions: tuple[float, float, float] = (0.7, 0.0, 0.3),
        split_seed: int = 0,
    ):
        self.path = path
        self.common_attributes, self.salient_attributes = tuple(common_attributes), tuple(salient_attributes)
        names = self.common_attributes + self.salient_attributes
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"common_attributes, salient_attributes: {twice[0]!r} is named twice, expected once, as one of both"
            )
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed

    def __repr__(self) -> str:
        return f"GroupManifestSource(path={self.path!r})"

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The named columns, common ones first."""
        roles = [(name, "common") for name in self.common_attributes]
        roles += [(name, "salient") for name in self.salient_attributes]
        return tuple(Attribute(name, role, len(self._categories(name))) for name, role in roles)

    @cached_property
    def files(self) -> tuple[GroupedFile, ...]:
        """All files, in the order of the lines."""
        rows = self._rows
        subjects = [row["subject"] for row in rows.values()]
        if "split" in next(iter(rows.values())):
            parts = [self._part(line, row) for line, row in rows.items()]
            check_disjoint(zip(subjects, parts, strict=True), str(self._file))
        else:
            of_subject = split_subjects(subjects, self.fractions, self.split_seed)
            parts = [of_subject[subject] for subject in subjects]
        return tuple(
            GroupedFile(
                self._file.parent / row["image"], row["subject"], self._group(line, row), part, self._values(row)
            )
            for (line, row), part in zip(rows.items(), parts, strict=True)
        )

    @property
    def _file(self) -> Path:
        return Path(self.path).expanduser()

    @cached_property
    def _rows(self) -> dict[int, dict[str, str]]:
        if not self._file.is_file():
            raise DataError(f"{self._file}: no such file, expected a CSV file that lists images. Check source.path.")
        columns, rows = read_rows(self._file)
        needed = ["subject", "image", "group", *self.common_attributes, *self.salient_attributes]
        missing = [name for name in needed if name not in columns]
        if missing or not rows:
            lacks = f"has no column {missing[0]!r}" if missing else "lists no image"
            raise DataError(
                f"{self._file}: {lacks}, expected a line for each image with {', '.join(needed)}. "
                f"Columns: {', '.join(columns) or 'none'}."
            )
        lines: dict[str, int] = {}
        for line, row in rows.items():
            if not row["subject"] or not row["image"]:
                raise DataError(f"{self._file}, line {line}: subject or image is empty, expected both. Fill it in.")
            first = lines.setdefault(os.path.normpath(self._file.parent / row["image"]), line)
            if first != line:
                raise DataError(
                    f"{self._file}, line {line}: lists the image {row['image']!r} again, which line {first} lists, "
                    "expected each once. Remove a line."
                )
        return rows

    def _categories(self, name: str) -> list[str]:
        """The categories of a column in order; none if all known values are numbers."""
        known = {row[name].strip() for row in self._rows.values()} - MISSING
        return [] if all(_number(value) is not None for value in known) else sorted(known)

    def _values(self, row: dict[str, str]) -> dict[str, float]:
        values = {}
        for attribute in self.attributes:
            text = row[attribute.name].strip()
            if text not in MISSING:
                number = self._categories_of[attribute.name].get(text) if attribute.num_classes else _number(text)
                assert number is not None
                values[attribute.name] = float(number)
        return values

    @cached_property
    def _categories_of(self) -> dict[str, dict[str, int]]:
        return {a.name: {text: n for n, text in enumerate(self._categories(a.name))} for a in self.attributes}

    def _group(self, line: int, row: dict[str, str]) -> bool:
        if row["group"] not in _GROUPS:
            raise DataError(f"{self._file}, line {line}: group is {row['group']!r}, expected background or target.")
        return _GROUPS[row["group"]]

    def _part(self, line: int, row: dict[str, str]) -> str:
        if row["split"] not in _PART_OF_WORD:
            raise DataError(f"{self._file}, line {line}: split is {row['split']!r}, expected train, val or test.")
        return _PART_OF_WORD[row["split"]]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
