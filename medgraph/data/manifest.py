"""Volumes listed by a CSV file: subject, image, label, split."""

import os
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from medgraph import checks
from medgraph.data.cases import Case, with_parts
from medgraph.data.csv_rows import read_rows
from medgraph.data.formats import case_name
from medgraph.data.splits import PARTS, check_disjoint
from medgraph.errors import DataError

COLUMNS = ("subject", "image", "label", "split")
_PART_OF_WORD = {part: part for part in PARTS} | {"val": "validation"}


class ManifestSource:
    """A CSV file with the columns `subject`, `image` and, where there are, `label` and `split`.

    Paths are relative to the CSV file. `split` is train, val or test; without that column, subjects are split by fixed
    fractions. The id of a case is the path of its image without the ending.

    Args:
        path: The CSV file.
        classes: Names of the label values 0, 1, ..., background first.
        frame: Which volume of files with four axes.
        fractions: Fractions of subjects in train, validation and test, without the column `split`.
        split_seed: Draws that split; independent of the seed of a run.
        other_columns: Further columns that the file has, such as one that a target reads.
        licence: Of the data; told on the card of every encoder that is trained on them.
    """

    def __init__(
        self,
        path: str,
        classes: tuple[str, ...] = (),
        frame: int | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        split_seed: int = 0,
        other_columns: tuple[str, ...] = (),
        licence: str = "",
    ):
        self.path = path
        self.classes = tuple(classes)
        self.frame = frame
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed
        self.other_columns = tuple(other_columns)
        self.licence = licence

    def __repr__(self) -> str:
        return f"ManifestSource(path={str(self.path)!r})"

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases, sorted by id, each with its part."""
        rows, has_split = self._rows()
        cases = [self._case(line, row) for line, row in rows.items()]
        for names in ([case.id for case in cases], [os.path.normpath(case.image) for case in cases]):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise DataError(f"{self._file}: lists the image {twice[0]!r} twice, expected each once. Remove a line.")
        if not has_split:
            return with_parts(cases, self.fractions, self.split_seed)
        parts = [self._part(line, row) for line, row in rows.items()]
        chosen = [replace(case, part=part) for case, part in zip(cases, parts, strict=True)]
        check_disjoint(((case.subject, case.part) for case in chosen), str(self._file))
        return tuple(sorted(chosen, key=lambda case: case.id))

    @property
    def _file(self) -> Path:
        return Path(os.path.expanduser(self.path))

    def _rows(self) -> tuple[dict[int, dict[str, str]], bool]:
        if not self._file.is_file():
            raise DataError(f"{self._file}: no such file, expected a CSV file that lists volumes. Check path.")
        columns, rows = read_rows(self._file)
        if not {"subject", "image"} <= set(columns) or not set(columns) <= {*COLUMNS, *self.other_columns}:
            raise DataError(
                f"{self._file}: has the columns {', '.join(columns) or 'none'}, expected subject, image and, "
                "if there are, label, split. Rename them, or name others in other_columns."
            )
        if not rows:
            raise DataError(f"{self._file}: lists no volumes, expected a line for each.")
        return rows, "split" in columns

    def _case(self, line: int, row: dict[str, str]) -> Case:
        if not row["subject"] or not row["image"]:
            raise DataError(f"{self._file}, line {line}: subject or image is empty, expected both. Fill it in.")
        folder, name = os.path.split(row["image"])
        label = self._file.parent / row["label"] if row.get("label") else None
        name = case_name(name) if not folder else f"{folder}/{case_name(name)}"
        return Case(name, row["subject"], self._file.parent / row["image"], label, frame=self.frame)

    def _part(self, line: int, row: dict[str, str]) -> str:
        if row["split"] not in _PART_OF_WORD:
            raise DataError(f"{self._file}, line {line}: split is {row['split']!r}, expected train, val or test.")
        return _PART_OF_WORD[row["split"]]
