"""How many labels a training may use: a number of its examples, or a share of them."""

import math
from fractions import Fraction


def label_count(num_labelled: int | float | None, total: int) -> int:
    """How many of `total` training examples keep their label: all for None; a share of them is rounded up.

    A share is taken as it is written: 0.1 of 30 are 3, although 0.1 * 30 is more than 3 in floating point.
    """
    if num_labelled is None:
        return total
    return math.ceil(Fraction(str(num_labelled)) * total) if isinstance(num_labelled, float) else num_labelled


def told_count(num_labelled: int | float, total: int) -> str:
    """For messages: `4`, or `0.1, which is 2 of 12`."""
    share = f", which is {label_count(num_labelled, total)} of {total}" if isinstance(num_labelled, float) else ""
    return f"{num_labelled}{share}"


def labelled_words(num_labelled: int | float | str) -> str:
    """For tables and sentences: `4`, `all`, and of the share 0.1 `10 %`."""
    return f"{100 * num_labelled:.10g} %" if isinstance(num_labelled, float) else str(num_labelled)
