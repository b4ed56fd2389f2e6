"""Volumes of a plain folder, found by a glob and paired with their labels by the part of the name that varies."""

import os
import re
from functools import cached_property
from pathlib import Path

from medgraph import checks
from medgraph.data.cases import Case, with_parts
from medgraph.data.listing import check_name, matching
from medgraph.errors import DataError


class FolderSource:
    """A folder of volumes, with or without labels.

    An image and a label belong together when the wildcards of both globs stand for the same text:
    `images="*/anat/*_T1w.nii.gz"` and `labels="*/anat/*_seg.nii.gz"` pair `a/anat/1_T1w.nii.gz` with
    `a/anat/1_seg.nii.gz`. That text is the id.

    Args:
        root: The folder that the globs are relative to.
        images: Glob of the images; `**` stands for any folders, linked ones too. Hidden files are left out.
        labels: Glob of the label files; None for images alone.
        classes: Names of the label values 0, 1, ..., background first.
        frame: Which volume of files with four axes.
        subject_pattern: Regular expression whose first group finds the subject in an id; None: each id is a subject.
        fractions: Fractions of subjects in train, validation and test.
        split_seed: Draws that split; independent of the seed of a run.
        licence: Of the data; told on the card of every encoder that is trained on them.
    """

    def __init__(
        self,
        root: str,
        images: str = "*.nii.gz",
        labels: str | None = None,
        classes: tuple[str, ...] = (),
        frame: int | None = None,
        subject_pattern: str | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        split_seed: int = 0,
        licence: str = "",
    ):
        self.root = root
        self.images = checks.file_pattern("images", images)
        self.labels = None if labels is None else checks.file_pattern("labels", labels)
        self.classes = tuple(classes)
        self.frame = frame
        self.subject_pattern = checks.expression("subject_pattern", subject_pattern)
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed
        self.licence = licence

    def __repr__(self) -> str:
        return f"FolderSource(root={str(self.root)!r}, images={self.images!r})"

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases, sorted by id, each with its part."""
        images = self._find(self.images)
        labels = self._find(self.labels) if self.labels is not None else {}
        both = sorted(set(images.values()) & set(labels.values()))
        if both:
            raise DataError(
                f"{both[0]}: matches images {self.images!r} and labels {self.labels!r}, expected each file to be one "
                "of them. Narrow images, or give the labels a folder of their own."
            )
        orphans = sorted(set(labels) - set(images))
        if orphans:
            raise DataError(
                f"{labels[orphans[0]]}: label without image, expected one that matches {self.images!r} with "
                f"{orphans[0]!r} for its `*`. Add the image, or narrow labels."
            )
        cases = [
            Case(name, self._subject(name), file, labels.get(name), frame=self.frame) for name, file in images.items()
        ]
        return with_parts(cases, self.fractions, self.split_seed)

    def _find(self, pattern: str) -> dict[str, Path]:
        root = Path(os.path.expanduser(self.root))
        if not root.is_dir():
            raise DataError(f"{root}: no such folder, expected one with volumes. Check root.")
        varying = _varying(pattern)
        found: dict[str, Path] = {}
        for file in map(check_name, matching(root, any_case(pattern))):
            match = varying.fullmatch(file.relative_to(root).as_posix())
            name = "-".join(group.strip("/") for group in match.groups() if group) if match else file.name
            if name in found:
                raise DataError(
                    f"{file}: has the same id {name!r} as {found[name]}, expected one file for each id. "
                    f"Narrow {pattern!r}."
                )
            found[name] = file
        if not found:
            raise DataError(
                f"{root}: no file matches {pattern!r}, expected volumes. Check root and the glob; "
                "`**/` looks into folders."
            )
        return found

    def _subject(self, name: str) -> str:
        if self.subject_pattern is None:
            return name
        match = re.search(self.subject_pattern, name)
        if match is None or match[1] is None:
            raise DataError(
                f"{self.root}: subject_pattern {self.subject_pattern!r} finds no group in the id {name!r}, "
                "expected the subject in its first group."
            )
        return match.group(1)


def _varying(pattern: str) -> re.Pattern[str]:
    """A regular expression for a glob, with a group for each wildcard."""
    words = re.split(r"(\*\*/|\*|\?|\[!?\]?[^\]]*\])", pattern)
    meaning = {"**/": r"((?:.*/)?)", "*": r"([^/]*)", "?": r"([^/])"}
    meaning |= {word: r"([^/])" for word in words[1::2] if word.startswith("[")}  # one letter of several
    return re.compile("".join(meaning.get(word, re.escape(word)) for word in words), re.IGNORECASE)


def any_case(pattern: str) -> str:
    """A glob that takes the ending of file names (`.nii.gz`) in capitals, too, as some programs write it."""
    folders, slash, name = pattern.rpartition("/")
    stem, dot, ending = name.partition(".")
    if any(c in ending for c in "*?["):
        return pattern
    return folders + slash + stem + dot + "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in ending)
