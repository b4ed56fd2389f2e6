"""Splits by subject: every volume of a subject falls into one part."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from medgraph import checks
from medgraph.errors import DataError

PARTS = ("train", "validation", "test")


def split_subjects(subjects: Iterable[str], fractions: Sequence[float], seed: int) -> dict[str, str]:
    """The part of each subject: fixed fractions of train, validation and test, drawn from `seed`.

    The order of `subjects` does not matter. A part with a fraction above 0 gets at least one subject.

    Raises:
        ValueError: The fractions are not three numbers of at least 0 that sum to 1.
        DataError: Fewer subjects than parts.
    """
    checks.parts("fractions", fractions)
    names = sorted(set(subjects))
    asked = sum(fraction > 0 for fraction in fractions)
    if len(names) < asked:
        raise DataError(
            f"{len(names)} subjects for {asked} parts {PARTS} with fractions {tuple(fractions)}, expected one subject "
            "or more in each. Give more subjects, or set a fraction to 0."
        )
    counts = [max(1, round(fraction * len(names))) if fraction > 0 else 0 for fraction in fractions]
    while sum(counts) != len(names):  # rounding: give to, or take from, the largest part
        counts[int(np.argmax(counts))] += 1 if sum(counts) < len(names) else -1
    order = np.random.default_rng(seed).permutation(len(names))
    parts = [part for part, count in zip(PARTS, counts, strict=True) for _ in range(count)]
    return {names[i]: part for i, part in zip(order, parts, strict=True)}


def kept_aside(groups: Sequence[int] | np.ndarray, share: float) -> np.ndarray:
    """Which training members validate, `(n,)` bool: a share of each group, one or more, drawn once and for all.

    Args:
        groups: A number for each member (n,), e.g. its class; order matters.
        share: Share of each group; 0 keeps none aside.
    """
    groups = np.asarray(groups)
    chosen = np.zeros(len(groups), dtype=bool)
    if share > 0:
        rng = np.random.default_rng(0)
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            chosen[rng.permutation(members)[: max(1, round(share * len(members)))]] = True
    return chosen


def check_disjoint(parts: Iterable[tuple[str, str]], where: str) -> None:
    """Raise DataError if a subject of the pairs (subject, part) lies in more than one part."""
    seen: dict[str, set[str]] = defaultdict(set)
    for subject, part in parts:
        seen[subject].add(part)
    torn = sorted(subject for subject, found in seen.items() if len(found) > 1)
    if torn:
        raise DataError(
            f"{where}: subject {torn[0]!r} lies in {' and '.join(sorted(seen[torn[0]]))}"
            f"{f' ({len(torn) - 1} more subjects too)' if len(torn) > 1 else ''}, expected each subject in one part. "
            "Move all its volumes to the same part."
        )
