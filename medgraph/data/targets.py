"""What is to be predicted of each volume: a column of a table, or the size of a labelled structure."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from medgraph import checks
from medgraph.data import formats
from medgraph.data.cases import Case
from medgraph.data.csv_rows import read_rows
from medgraph.errors import DataError

_ANY_VALUE = tuple(str(value) for value in range(2**16))  # a label map whose values need no names


class Target(Protocol):
    """One class or one number for each case."""

    @property
    def name(self) -> str:
        """Its name, with the unit."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for a number."""

    def check(self, cases: Sequence[Case]) -> None:
        """Raise DataError for a case without a good value, as far as tables and headers tell."""

    def values(self, cases: Sequence[Case]) -> np.ndarray:
        """Class index (n,) int64 or number (n,) float64 of each case. Raises DataError."""


class ColumnTarget:
    """A column of a CSV table that has a line for each case, or for each subject.

    Args:
        path: The table. A column called `case` names the cases by their ids, or one called `subject` the subjects, or
            one called `image` the image files, as the manifest of a source does.
        column: Its column with the classes or numbers.
        classes: The words that stand for the classes 0, 1, ...; none for numbers.
        unit: Unit of the numbers, for tables and plots.
    """

    def __init__(self, path: str, column: str, classes: tuple[str, ...] = (), unit: str = ""):
        self.path = path
        self.column = column
        self.classes = tuple(classes)
        self.unit = unit
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: expected two or more different words, got {list(self.classes)}")

    @property
    def name(self) -> str:
        """The column, with the unit."""
        return f"{self.column}, {self.unit}" if self.unit else self.column

    def check(self, cases: Sequence[Case]) -> None:
        """Raise DataError for a case without a line, a word that is no class, or a number that is none."""
        self.values(cases)

    def values(self, cases: Sequence[Case]) -> np.ndarray:
        """Class index or number of each case. Raises DataError."""
        words, key = self._words
        found = []
        for case in cases:
            name = {"case": case.id, "subject": case.subject, "image": str(case.image)}[key]
            if key == "image" and name not in words:
                name = formats.case_name(case.image)
            if name not in words:
                raise DataError(
                    f"{self._file}: has no line for the {key} {name!r}, expected one for each. Add it, or leave the "
                    "volume out."
                )
            found.append(self._value(*words[name]))
        return np.array(found, dtype=np.int64 if self.classes else np.float64)

    @property
    def _file(self) -> Path:
        return Path(os.path.expanduser(self.path))

    @cached_property
    def _words(self) -> tuple[dict[str, tuple[int, str]], str]:
        """Line and word by name, and the kind of name."""
        if not self._file.is_file():
            raise DataError(f"{self._file}: no such file, expected a CSV table with the column {self.column!r}.")
        columns, rows = read_rows(self._file)
        key = next((word for word in ("case", "subject", "image") if word in columns), None)
        if key is None or self.column not in columns:
            raise DataError(
                f"{self._file}: has the columns {', '.join(columns) or 'none'}, expected {self.column} and one of "
                "case, subject, image."
            )
        words: dict[str, tuple[int, str]] = {}
        for line, row in rows.items():
            name = str(self._file.parent / row[key]) if key == "image" else row[key]
            word = row[self.column].strip()
            if name in words and words[name][1] != word:
                raise DataError(f"{self._file}, line {line}: {key} {name!r} has another {self.column} than before.")
            words[name] = line, word
        if key == "image":  # files that lie elsewhere are known by their names, where no two are called alike
            names = Counter(formats.case_name(path) for path in words)
            words |= {name: words[path] for path in [*words] if names[name := formats.case_name(path)] == 1}
        return words, key

    def _value(self, line: int, word: str) -> float | int:
        where = f"{self._file}, line {line}: {self.column} is {word!r}"
        if self.classes:
            if word not in self.classes:
                raise DataError(
                    f"{where}, expected one of the declared classes {', '.join(self.classes)}. Declare it in "
                    "target.classes, or correct the table."
                )
            return self.classes.index(word)
        try:
            value = float(word)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise DataError(f"{where}, expected a finite number. Classes? Name them in target.classes.")
        return value


class LabelVolumeTarget:
    """The size of a labelled structure in millilitres, counted on the native grid of the label file.

    Args:
        labels: Values that are counted together; none counts all but background.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, labels: tuple[int, ...] = ()):
        self.labels = tuple(checks.at_least("labels", value, 1) for value in labels)

    @property
    def name(self) -> str:
        """`volume`, with the unit."""
        return "volume, ml"

    def check(self, cases: Sequence[Case]) -> None:
        """Raise DataError for a case without label file."""
        bare = [case for case in cases if case.label is None]
        if bare:
            raise DataError(f"{bare[0].image}: image without label, expected a label file whose volume is the target.")

    def values(self, cases: Sequence[Case]) -> np.ndarray:
        """Millilitres of each case. Raises DataError."""
        self.check(cases)
        found = []
        for case in cases:
            assert case.label is not None  # check
            labels = formats.read_labels(case.label, formats.read_grid(case.image), _ANY_VALUE)
            mine = np.isin(labels, self.labels) if self.labels else labels > 0
            found.append(mine.sum() * float(np.prod(formats.read_grid(case.image).spacing)) / 1000)
        return np.array(found, dtype=np.float64)
