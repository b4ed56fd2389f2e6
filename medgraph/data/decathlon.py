"""Volumes listed by a `dataset.json` in the style of the Medical Segmentation Decathlon."""

import json
import os
import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

from medgraph import checks
from medgraph.data.cases import Case, with_parts
from medgraph.data.formats import case_name
from medgraph.data.splits import check_disjoint
from medgraph.errors import DataError

_PART_OF_WORD = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_KINDS = {
    "training": (list, "a list of files, or of image and label files"),
    "labels": (dict, 'names by number such as {"0": "background", "1": "lesion"}'),
    "split": (dict, 'ids by part such as {"train": ["a"], "test": ["b"]}'),
    "subjects": (dict, 'a subject for each id such as {"a": "patient 1"}'),
}


class DecathlonSource:
    """A folder with `dataset.json`, whose `training` lists image and label files.

    Two keys beyond the original format are used where they exist: `split` (part -> ids; a case that it does not name
    is left out) and `subjects` (id -> subject). Without `split`, subjects are split by fixed fractions.

    Args:
        root: Folder of `dataset.json`.
        frame: Which volume of files with four axes, e.g. one MR contrast.
        subject_pattern: Regular expression whose group finds the subject in an id; for data without `subjects`.
        fractions: Fractions of subjects in train, validation and test, where the file fixes no split.
        split_seed: Draws that split; independent of the seed of a run, so that test volumes stay test volumes.
    """

    def __init__(
        self,
        root: str,
        frame: int | None = None,
        subject_pattern: str | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        split_seed: int = 0,
    ):
        self.root = root
        self.frame = frame
        self.subject_pattern = checks.expression("subject_pattern", subject_pattern)
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed

    def __repr__(self) -> str:
        return f"{type(self).__name__}(root={str(self.root)!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names under `labels`, in the order of their values."""
        named = self._index.get("labels", {})
        wrong = [pair for pair in named.items() if not str(pair[0]).isdecimal() or not isinstance(pair[1], str)]
        if wrong:
            raise DataError(
                f"{self._file}: labels hold {wrong[0][0]!r}: {wrong[0][1]!r}, expected a name for each number such as "
                '{"0": "background", "1": "lesion"}. Turn them round, or correct them.'
            )
        labels = {int(value): name for value, name in named.items()}
        if sorted(labels) != list(range(len(labels))):
            raise DataError(
                f"{self._file}: labels declare the values {sorted(labels)}, expected 0, 1, 2, ... without gaps. "
                "Map the values of the files."
            )
        return tuple(labels[value] for value in range(len(labels)))

    @property
    def licence(self) -> str:
        """What the file names under `licence`; empty where it names none."""
        return str(self._index.get("licence") or self._index.get("license") or "")

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases, sorted by id, each with its part."""
        cases = [self._case(entry) for entry in self._index["training"]]
        twice = [name for name, count in Counter(case.id for case in cases).items() if count > 1]
        if twice:
            raise DataError(f"{self._file}: training lists {twice[0]!r} twice, expected each id once. Remove an entry.")
        if "split" not in self._index:
            return with_parts(cases, self.fractions, self.split_seed)
        parts = self._parts()
        missing = sorted(set(parts) - {case.id for case in cases})
        if missing:
            raise DataError(
                f"{self._file}: split names {missing[0]!r}, expected an id of `training`. Correct split or training."
            )
        chosen = [Case(c.id, c.subject, c.image, c.label, parts[c.id], c.frame) for c in cases if c.id in parts]
        check_disjoint(((case.subject, case.part) for case in chosen), str(self._file))
        return tuple(sorted(chosen, key=lambda case: case.id))

    @property
    def _file(self) -> Path:
        return Path(os.path.expanduser(self.root)) / "dataset.json"

    @cached_property
    def _index(self) -> dict[str, Any]:
        try:
            index = json.loads(self._file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise DataError(
                f"{self._file}: no such file, expected the index of a Decathlon data set. Check root, "
                "or use the source `folder` for plain folders."
            ) from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self._file}: is not JSON ({error}). Repair it.") from error
        if not isinstance(index, dict) or not index.get("training"):
            raise DataError(
                f"{self._file}: lists no volumes under `training`, expected entries such as "
                '{"image": "./images/a.nii.gz", "label": "./labels/a.nii.gz"}.'
            )
        for key, (kind, expected) in _KINDS.items():
            if key in index and not isinstance(index[key], kind):
                found = f"{type(index[key]).__name__} {str(index[key])[:60]!r}"
                raise DataError(f"{self._file}: {key} is a {found}, expected {expected}. Correct it.")
        return index

    def _case(self, entry: Any) -> Case:
        entry = {"image": entry} if isinstance(entry, str) else entry
        good = isinstance(entry, dict) and entry.get("image") and isinstance(entry["image"], str)
        if not good or not isinstance(entry.get("label") or "", str):
            raise DataError(f'{self._file}: training holds {entry!r}, expected {{"image": file, "label": file}}.')
        name = case_name(entry["image"])
        image = self._file.parent / entry["image"]
        label = self._file.parent / entry["label"] if entry.get("label") else None
        return Case(name, self._subject(name), image, label, frame=self.frame)

    def _subject(self, name: str) -> str:
        subjects = self._index.get("subjects", {})
        if name in subjects:
            return str(subjects[name])
        if self.subject_pattern is None:
            return name
        match = re.search(self.subject_pattern, name)
        if match is None or match[1] is None:
            raise DataError(
                f"{self._file}: subject_pattern {self.subject_pattern!r} finds no group in the id {name!r}, "
                "expected the subject in its first group."
            )
        return match.group(1)

    def _parts(self) -> dict[str, str]:
        parts: dict[str, str] = {}
        for word, names in self._index["split"].items():
            if word not in _PART_OF_WORD:
                raise DataError(f"{self._file}: split has the key {word!r}, expected train, val or test.")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise DataError(f"{self._file}: split gives {names!r} as {word}, expected a list of ids. Correct it.")
            for name in names:
                if name in parts:
                    raise DataError(f"{self._file}: split names {name!r} twice, expected each id in one part.")
                parts[name] = _PART_OF_WORD[word]
        return parts
