"""Rows of a table about both codes as a whole: how long they are, and what they say about each other."""

import warnings
from typing import Any

import numpy as np

from medgraph.evaluation.dependence import dependence
from medgraph.evaluation.spaces import CODES, Part


def norms(test: Part) -> list[dict[str, Any]]:
    """Mean length of the background's salient features over that of the targets; a small one is no proof of silence."""
    rows = []
    for space in ("salient", "salient" + CODES):
        if space in test.spaces:
            lengths = np.linalg.norm(test.spaces[space], axis=1)
            target = lengths[test.is_target].mean()
            ratio = float(lengths[~test.is_target].mean() / target) if target > 0 else float("nan")
            count = len(lengths)
            rows.append({"case": "norm, background over target", "label": space, "score": ratio, "examples": count})
    return rows


def dependences(test: Part, fewest: int) -> list[dict[str, Any]]:
    """Kernel alignment of common and salient features of targets, and of their codes, with its p-value by permutation.

    One target of each subject is compared. Of fewer than `fewest` targets there are no rows, and a warning says so.
    """
    count = int(test.is_target.sum())
    if count < fewest:
        warnings.warn(
            f"{count} targets in the scored part, expected {fewest} or more: whether the codes depend on each other is "
            "left out.",
            stacklevel=3,
        )
        return []
    rows = []
    for mark in ("", CODES):
        if "salient" + mark in test.spaces:
            common, salient = (test.spaces[space + mark][test.is_target] for space in ("common", "salient"))
            found = dependence(common, salient, test.subjects[test.is_target])
            rows.append({
                "case": "dependence, HSIC", "label": f"common{mark} and salient{mark}", "score": found.alignment,
                "chance": found.permuted, "low": found.low, "high": found.high, "examples": found.examples,
                "p_value": found.p_value,
            })  # fmt: skip
    return rows
