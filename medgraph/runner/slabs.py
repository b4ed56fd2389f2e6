"""Cases too large to be predicted at once: how much memory one takes, and in which slabs it is predicted instead."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from medgraph.errors import DataError
from medgraph.runner.memory import in_gib

_READING = 48  # bytes per voxel while a volume is read and prepared: the file's values, float64 and their copies
_FLOATS = 4  # of the size of the logits: windows summed, divided, flipped, and the sum


@dataclass(frozen=True)
class Slab:
    """Rows `start` to `stop` of a volume's first axis, of whose answer the rows `first` to `last` are kept."""

    start: int
    stop: int
    first: int
    last: int


def slabs(length: int, size: int, overlap: float, max_rows: int) -> list[Slab]:
    """Slabs of at most `max_rows` rows, as few as needed, whose kept rows tile `length`.

    They begin at places where the sliding window over the whole volume has a window, and keep only the rows that no
    other window would have reached: the answers are those of the whole volume.

    Args:
        length: Rows of the volume.
        size: Rows of a window.
        overlap: Share of a window that the next one sees again.
        max_rows: At least four windows' worth are taken, whatever is asked for.
    """
    stride = max(1, int(size * (1 - overlap)))
    max_rows = max(max_rows, 4 * size)
    found, kept = [], 0
    while kept < length:
        start = max(0, (kept - size) // stride * stride)
        stop = min(length, start + max_rows)
        last = stop if stop == length else stop - size
        found.append(Slab(start, stop, kept, last))
        kept = last
    return found


def check_reading(name: str, num_voxels: int, num_prepared: int, extra: int, budget: int) -> None:
    """Raise DataError where a case cannot even be read within `budget` bytes; `extra` is held besides."""
    needed = 8 * num_voxels + _READING * num_prepared + extra
    if needed > budget:
        raise DataError(
            f"{name}: {num_voxels} voxels need about {in_gib(needed)} of memory, but {in_gib(budget)} are free for one "
            "case. Lower --workers, leave out --probabilities, cut the case, or use a machine with more memory."
        )


def predicted(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    num_classes: int,
    window: tuple[int, float] | None,
    budget: int,
    tell: Callable[[str], None],
) -> Iterator[Tensor]:
    """Logits of a volume (1, c, d, h, w), whole or slab after slab along d, whichever fits into `budget` bytes.

    Args:
        predict: Gives the logits of a volume.
        images: The volume.
        num_classes: Channels of the logits.
        window: Rows and overlap of the sliding window that `predict` uses; None where it sees the volume at once.
        budget: Bytes that logits may take.
        tell: Called with a line where slabs are needed.
    """
    length = images.shape[2]
    row = 4 * _FLOATS * num_classes * images[0, 0, 0].numel()  # bytes
    if window is None or row * length <= budget:
        yield predict(images)
        return
    parts = slabs(length, *window, max_rows=budget // row)
    most = max(part.stop - part.start for part in parts)
    size = " x ".join(map(str, images.shape[2:]))
    tell(f"{size} voxels, about {in_gib(row * length)} at once; in {len(parts)} slabs of up to {in_gib(row * most)}")
    for part in parts:
        logits = predict(images[:, :, part.start : part.stop])
        yield logits[:, :, part.first - part.start : part.last - part.start]


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of the group of processes that it is confined to."""
    found = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        return found if limit == "max" else min(found, int(limit) - int(used))
    except (OSError, ValueError, StopIteration):  # no Linux, or no such limit
        return found
