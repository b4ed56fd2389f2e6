"""Two folders of images or volumes: one without, one with the pattern of interest."""

import re
from functools import cached_property
from pathlib import Path

from medgraph import checks
from medgraph.data.grouped import Attribute
from medgraph.data.grouped_files import ENDINGS, GroupedFile
from medgraph.data.listing import check_name, matching
from medgraph.data.splits import split_subjects
from medgraph.errors import DataError


class TwoFoldersSource:
    """Files of two folders and all folders below them; png, jpg, nii and nii.gz.

    A file is known by its path below the folder of its group, such as `p1/T1.nii.gz`. Subjects of the two groups are
    told apart even where they are called alike; people whose files lie in both need `group_manifest`.

    Args:
        background: Folder of the group without the pattern of interest.
        target: Folder of the group that has it.
        subject_pattern: Regular expression whose first group finds the subject in that path; None: all files below one
            folder (`p1`) are one subject, and a file in no folder is one of its own.
        fractions: Fractions of the subjects in train, validation and test.
        split_seed: Draws that split; independent of the seed of a run.
    """

    attributes: tuple[Attribute, ...] = ()

    def __init__(
        self,
        background: str,
        target: str,
        subject_pattern: str | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.0, 0.3),
        split_seed: int = 0,
    ):
        self.background, self.target = background, target
        self.subject_pattern = checks.expression("subject_pattern", subject_pattern)
        self.fractions = checks.parts("fractions", fractions)
        self.split_seed = split_seed

    def __repr__(self) -> str:
        return f"TwoFoldersSource(background={self.background!r}, target={self.target!r})"

    @cached_property
    def files(self) -> tuple[GroupedFile, ...]:
        """All files, sorted by name within each group."""
        found = []
        for folder, is_target in ((self.background, False), (self.target, True)):
            named = [(file, self._subject(file, folder, is_target)) for file in _listing(folder)]
            try:
                parts = split_subjects((subject for _, subject in named), self.fractions, self.split_seed)
            except DataError as error:
                raise DataError(f"{folder}: {error} Are there more? Tell them by source.subject_pattern.") from error
            found += [GroupedFile(file, subject, is_target, parts[subject], {}) for file, subject in named]
        self._check_apart()
        return tuple(found)

    def _check_apart(self) -> None:
        """Raise DataError where one folder lies in the other: its files would be in both groups."""
        background, target = (Path(folder).expanduser().resolve() for folder in (self.background, self.target))
        if background.is_relative_to(target) or target.is_relative_to(background):
            raise DataError(
                f"source.background {self.background} and source.target {self.target}: one holds the other, so files "
                "would be in both groups. Give two folders beside each other."
            )

    def _subject(self, file: Path, folder: str, is_target: bool) -> str:
        group = "target" if is_target else "background"
        path = file.relative_to(Path(folder).expanduser())
        if self.subject_pattern is None:
            return f"{group}/{path.parts[0]}"
        match = re.search(self.subject_pattern, path.as_posix())
        if match is None or match[1] is None:
            raise DataError(
                f"{file}: subject_pattern {self.subject_pattern!r} finds no group in {path.as_posix()!r}, "
                "expected the subject in its first group."
            )
        return f"{group}/{match.group(1)}"


def _listing(folder: str) -> list[Path]:
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected one of images or volumes. Check source.background, target.")
    files = [check_name(file) for file in matching(root, "**/*") if file.name.lower().endswith(ENDINGS)]
    if not files:
        raise DataError(f"{root}: holds no file that ends in {', '.join(ENDINGS)}, so one group would be empty.")
    return files
