"""What stands for a missing value where a column holds text: the spellings that readers of numbers skip."""

from collections.abc import Iterable

MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}
)


def spelled_out(words: Iterable[object], what: str) -> list[str]:
    """A line about the words that count as missing, beside empty ones; none where there are none."""
    found = [word for word in words if isinstance(word, str) and word and word in MISSING]
    spellings = ", ".join(map(repr, sorted(set(found))))
    return [f"{what}: {len(found)} values say {spellings} and count as missing."] if found else []
