"""What a source of volumes offers: its cases, each with subject, files and part; and the names of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from medgraph.data.splits import split_subjects
from medgraph.errors import DataError


@dataclass(frozen=True)
class Case:
    """One volume of a source.

    Attributes:
        id: Name, unique in its source.
        subject: Who it was taken from; a subject lies in one part only.
        image: File of the image.
        label: File of the labels, if there is one.
        part: train, validation or test; empty until a split gives one.
        frame: Which volume of a file with four axes.
    """

    id: str
    subject: str
    image: Path
    label: Path | None
    part: str = ""
    frame: int | None = None


class Source(Protocol):
    """Where volumes come from. Both answers need index files and folder listings only, no voxels."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first; empty without labels."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases, sorted by id, each with its part."""


def frame_of(source: Any) -> int | None:
    """Which volume of files with several a source takes; None where it does not say."""
    frame: int | None = getattr(source, "frame", None)
    return frame


def with_parts(cases: Sequence[Case], fractions: Sequence[float], seed: int) -> tuple[Case, ...]:
    """The cases sorted by id, split by subject."""
    parts = split_subjects((case.subject for case in cases), fractions, seed)
    return tuple(replace(case, part=parts[case.subject]) for case in sorted(cases, key=lambda case: case.id))


def of_part(source: Source, part: str) -> tuple[Case, ...]:
    """The cases of one part. Raises DataError where there are none."""
    cases = tuple(case for case in source.cases if case.part == part)
    if not cases:
        raise DataError(
            f"{source!r}: no volume in the part {part!r}, expected at least one. Change the split of the source."
        )
    return cases
