"""A warning where an augmentation destroys what shall be probed."""

import re
import warnings
from collections.abc import Iterable


def warn_destroyed(attributes: Iterable[str], randomises: Iterable[str]) -> None:
    """Warn of every attribute one of whose words the views randomise: neither code can then hold it."""
    words = set(randomises)
    for name in attributes:
        found = sorted(words & set(re.findall(r"[^\W_]+", name.lower())))
        if found:
            warnings.warn(
                f"attribute {name!r} is probed, but the views randomise {', '.join(found)}: neither code can hold it. "
                "Weaken that augmentation, or leave the attribute out of the verdict.",
                stacklevel=3,
            )
