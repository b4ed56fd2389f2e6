"""Argument checks with one wording, for Python callers and YAML alike.

Each check returns its value: a constructor reads `self.temperature = checks.positive("temperature", temperature)`.
The config checker finds these very lines in a constructor and runs them before anything heavy is imported.
"""

import math
import re
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")


def positive(name: str, value: Number) -> Number:
    """Return `value` if it is finite and above 0. Raises ValueError."""
    if not _finite(value) or value <= 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return value


def not_negative(name: str, value: Number) -> Number:
    """Return `value` if it is finite and 0 or more. Raises ValueError."""
    if not _finite(value) or value < 0:
        raise ValueError(f"{name}: expected 0 or more, got {value!r}")
    return value


def at_least(name: str, value: Number, minimum: Number) -> Number:
    """Return `value` if it is finite and `minimum` or more. Raises ValueError."""
    if not _finite(value) or value < minimum:
        raise ValueError(f"{name}: expected {minimum} or more, got {value!r}")
    return value


def count_or_share(name: str, value: Number, minimum: int = 1) -> Number:
    """Return `value` if it is a whole number, `minimum` or more, or a share between 0 and 1. Raises ValueError."""
    if not isinstance(value, float):
        return at_least(name, value, minimum)
    if not 0 < value < 1:
        raise ValueError(
            f"{name}: expected a whole number, or a share above 0 and below 1 such as 0.1, got {value!r}. Write one "
            "example as 1"
        )
    return value


def between(name: str, value: Number, low: Number, high: Number) -> Number:
    """Return `value` if low <= value <= high. Raises ValueError."""
    if not _finite(value) or not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value!r}")
    return value


def fraction(name: str, value: float) -> float:
    """Return `value` if it lies in [0, 1]. Raises ValueError."""
    return between(name, value, 0.0, 1.0)


def interval(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """Return `value` as a pair (a, b) with low <= a <= b <= high. Raises ValueError."""
    try:
        first, second = value
        good = low <= first <= second <= high
    except (TypeError, ValueError):
        good = False
    if not good:
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" within [{low}, {high}]"
        raise ValueError(f"{name}: expected two numbers, the smaller first{bounds}, got {value!r}")
    return first, second


def one_of(name: str, value: Value, choices: Collection[Value]) -> Value:
    """Return `value` if it is among `choices`. Raises ValueError."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def same_length(**named: Any) -> None:
    """Raise ValueError unless all arguments have the same length; names every length."""
    lengths = {name: len(value) for name, value in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("expected the same length, got " + ", ".join(f"{k}: {n}" for k, n in lengths.items()))


def parts(name: str, value: Sequence[float]) -> Sequence[float]:
    """Return `value` if it is three shares that sum to 1: train, validation and test. Raises ValueError."""
    if len(value) != 3 or min(value) < 0 or abs(sum(value) - 1) > 1e-6:
        raise ValueError(f"{name}: expected three numbers that sum to 1 (train, validation, test), got {value}")
    return value


def file_pattern(name: str, value: str) -> str:
    """Return `value` if it is a glob below some folder. Raises ValueError."""
    steps = PurePath(value).parts
    if not steps or PurePath(value).is_absolute() or any("**" in step and step != "**" for step in steps):
        raise ValueError(f"{name}: expected a glob below the folder such as '**/*.nii.gz', got {value!r}")
    return value


def expression(name: str, value: str | None) -> str | None:
    """Return `value` if it is None, or a regular expression with a group. Raises ValueError."""
    try:
        is_good = value is None or re.compile(value).groups > 0
    except re.error as error:
        raise ValueError(f"{name}: {value!r} is no regular expression: {error}") from error
    if not is_good:
        raise ValueError(f"{name}: expected a regular expression with a group, as '(.*)_T1', got {value!r}")
    return value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
