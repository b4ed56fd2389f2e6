"""Labels and splits of target nodes: checked, numbered from 0."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from medgraph.data.missing import MISSING, spelled_out
from medgraph.errors import DataError

PARTS = ("train", "val", "test")


def map_labels(
    labels: np.ndarray | None,
    num_targets: int,
    where: str,
    notes: list[str],
    classes: tuple[str, ...] | None = None,
) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels as numbers from 0 (-1 where missing), and the names of the classes.

    Args:
        labels: Integers, whole floats or text; NaN, None, negative numbers and words of `missing.MISSING`, as "" and
            "NA", stand for a missing label.
        num_targets: Number of target nodes.
        where: Path of the graph, for messages.
        notes: Takes a line if the numbers had to change, or words count as missing.
        classes: Names of the classes when the labels are their numbers already.

    Raises:
        DataError: Not one label for each target; numbers that are not whole, or beyond the classes.
    """
    if labels is None:
        return None, ()
    labels = np.asarray(labels)
    if labels.shape != (num_targets,):
        raise DataError(f"{where}: labels have shape {labels.shape}, expected ({num_targets},), one for each target.")
    if labels.dtype.kind in "iufb":
        numbers = labels.astype(np.float64)
        known = np.isfinite(numbers) & (numbers >= 0)
        if np.any(numbers[known] != np.round(numbers[known])):
            raise DataError(f"{where}: label {numbers[known][numbers[known] % 1 != 0][0]} is not a whole number.")
        values = numbers[known].astype(np.int64)
    else:
        known = np.array([value is not None and value == value and value not in MISSING for value in labels])
        notes += spelled_out(labels, f"{where}: labels")
        values = labels[known].astype(str)
    found = torch.full((num_targets,), -1, dtype=torch.long)
    if classes is not None:
        if values.max(initial=0) >= max(len(classes), 1):
            raise DataError(f"{where}: label {values.max()}, but there are {len(classes)} classes.")
        found[torch.from_numpy(known)] = torch.from_numpy(values)
        return found, classes
    names, codes = np.unique(values, return_inverse=True)
    if values.dtype.kind == "i" and not np.array_equal(names, np.arange(len(names))):
        pairs = ", ".join(f"{old} -> {new}" for new, old in enumerate(names[:10]))
        notes.append(f"{where}: labels are not 0 to {len(names) - 1}; mapped {pairs}.")
    found[torch.from_numpy(known)] = torch.from_numpy(codes.astype(np.int64))
    return found, tuple(map(str, names))


def check_splits(
    splits: Mapping[str, Mapping[str, np.ndarray]],
    labels: Tensor | None,
    classes: tuple[str, ...],
    num_targets: int,
    where: str,
    notes: list[str],
) -> dict[str, dict[str, Tensor]]:
    """Splits as long tensors, in their own order, duplicates kept, empty parts left out.

    Raises:
        DataError: Parts that do not exist, numbers out of bounds, nodes in two parts of a split, nodes without label.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, parts in splits.items():
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise DataError(f"{where}: split {name!r} has a part {min(unknown)!r}, expected {', '.join(PARTS)}.")
        every = {part: _indices(parts[part], f"{where}: {part} of split {name!r}", num_targets) for part in parts}
        found[name] = {part: index for part, index in every.items() if len(index)}
        notes += [f"{where}: {part} of split {name!r} is empty and left out." for part in every.keys() - found[name]]
        for first, second in combinations(found[name], 2):
            both = np.intersect1d(found[name][first].numpy(), found[name][second].numpy())
            if len(both):
                raise DataError(
                    f"{where}: split {name!r}: {len(both)} nodes lie in both {first} and {second}, the first is "
                    f"{both[0]}. Take them out of one."
                )
        for part, index in found[name].items():
            _describe(index, labels, classes, f"{where}: {part} of split {name!r}", notes)
    return found


def _indices(index: np.ndarray, what: str, num_targets: int) -> Tensor:
    index = np.asarray(index)
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise DataError(f"{what}: shape {index.shape} of {index.dtype}, expected a list of node numbers.")
    wrong = np.flatnonzero((index < 0) | (index >= num_targets))
    if len(wrong):
        raise DataError(
            f"{what}: row {wrong[0]}: node {index[wrong[0]]} is out of bounds, expected 0 to {num_targets - 1}."
        )
    return torch.from_numpy(index.astype(np.int64))


def _describe(index: Tensor, labels: Tensor | None, classes: tuple[str, ...], what: str, notes: list[str]) -> None:
    """Note repeats and missing classes; refuse nodes without a label."""
    different = len(index.unique())
    if different < len(index):
        notes.append(f"{what}: {len(index) - different} repeats among {len(index)} node numbers; kept as they are.")
    if labels is None:
        return
    if (labels[index] < 0).any():
        raise DataError(f"{what}: node {int(index[labels[index] < 0][0])} has no label. Take it out, or label it.")
    missing = sorted(set(range(len(classes))) - set(labels[index].tolist()))
    if missing:
        notes.append(f"{what}: no node of class {', '.join(classes[i] for i in missing)}.")
