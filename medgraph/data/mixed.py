"""Several sets as one: ids global over all of them, and no set taking more than its share of a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medgraph import checks
from medgraph.data.batches import ImageBatch, StackBatch
from medgraph.data.formats import CaseFile
from medgraph.data.images import ImageFolderData
from medgraph.data.loader import epoch_batches, shown_of
from medgraph.data.spec import ImageSpec, settled
from medgraph.data.stacks import pad
from medgraph.errors import ConfigError, DataError


class MixedData:
    """Images and slices of several sets, or volumes of several sets, in one training.

    Ids of a later set go on where those of the earlier ones end. In every batch each set has its share by size, cut
    off at `max_share` and given to the others; small sets are walked more often.

    Args:
        data: The sets: all of images and slices, or all of volumes; of one size and number of channels.
        max_share: Largest share of a batch that one set may take.
        like: Number of the set, from 0, like which a new file is prepared; None takes the one that holds files of its
            kind, and refuses where several prepare theirs in different ways.
    """

    def __init__(self, data: list[Any], max_share: float = 0.5, like: int | None = None):
        self.data, self.like = list(data), like
        if like is not None and not 0 <= like < len(self.data):
            raise ValueError(f"like: expected the number of a set, 0 to {len(self.data) - 1}, got {like}")
        self.max_share = checks.fraction("max_share", max_share)
        checks.at_least("data: length", len(self.data), 1)
        if len(self.data) * self.max_share < 1:
            raise ValueError(
                f"max_share: {len(self.data)} sets of at most {self.max_share} of a batch do not fill it; "
                f"expected {1 / len(self.data):.3g} or more."
            )

    @property
    def spec(self) -> ImageSpec:
        """Facts of all sets together.

        Raises:
            ConfigError: The sets differ in size or channels, or some hold volumes and some do not.
        """
        specs = [part.spec for part in self.data]
        for name, values in (
            ("channels", [spec.channels for spec in specs]),
            ("size", [spec.size for spec in specs]),
            ("kind of example", ["volumes" if spec.num_volumes else "images" for spec in specs]),
        ):
            if len(set(values)) > 1:
                raise ConfigError(
                    f"data: the sets differ in {name}: {', '.join(map(str, values))}. Give all of them the same."
                )
        first = specs[0]
        counts = [count for spec in specs for count in spec.num_slices]
        return ImageSpec(
            first.spatial_dims,
            first.channels,
            first.size,
            sum(spec.num_examples for spec in specs),
            num_volumes=sum(spec.num_volumes for spec in specs),
            num_slices=(min(counts), max(counts)) if counts else (),
        )

    def train(self) -> "Mixed":
        """The training part of every set."""
        return self._mixed("train")

    def validation(self) -> "Mixed":
        """The validation part of every set."""
        return self._mixed("validation")

    def test(self) -> "Mixed":
        """The test part of every set."""
        return self._mixed("test")

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return {**node, "data": [settled(data, inner) for data, inner in zip(self.data, node["data"], strict=True)]}

    def new_case(self, file: CaseFile, whole: bool = False) -> Any:
        """A file of no part, prepared like the set that it belongs to, see `set_of`. Raises DataError."""
        try:
            return self.set_of(file.kind).new_case(file, whole)
        except ConfigError as error:
            raise DataError(f"{file.path}: {error}") from error

    def set_of(self, kind: str) -> Any:
        """The set like which a new file is prepared: the one named by `like`, else one with files of this kind.

        Raises:
            ConfigError: Several fit, and prepare their files in different ways.
        """
        if self.like is not None:
            return self.data[self.like]
        fits = [n for n, data in enumerate(self.data) if isinstance(data, ImageFolderData) == (kind == "image")]
        fits = fits or list(range(len(self.data)))
        ways = {str(_preparation(self.data[n])): n for n in reversed(fits)}
        if len(ways) > 1:
            told = "; ".join(f"{n}: {way}" for way, n in sorted(ways.items(), key=lambda pair: pair[1]))
            raise ConfigError(
                f"the training's sets prepare such files in {len(ways)} ways, and which one fits here is not said. Set "
                f"like to the number of a set ({told})."
            )
        return self.data[fits[0]]

    def _mixed(self, part: str) -> "Mixed":
        sets = [getattr(data, part)() for data in self.data]
        for number, (data, some) in enumerate(zip(self.data, sets, strict=True)):
            _require_examples(number, data, some, part)
        ends = [
            max(data.spec.num_examples, int(some.ids.max()) + 1) for data, some in zip(self.data, sets, strict=True)
        ]
        return Mixed(sets, ends, self.max_share)


class Mixed:
    """Several datasets in a row.

    Args:
        sets: The datasets, each with `ids` and `__getitems__`.
        num_ids: One more than the largest id of each.
        max_share: Largest share of a batch that one set may take.

    Attributes:
        ids: Global id of each example, `(n,)` long.
    """

    def __init__(self, sets: Sequence[Any], num_ids: Sequence[int], max_share: float):
        self._sets, self.max_share = sets, max_share
        self._first_ids = np.cumsum([0, *num_ids])
        self._starts = np.cumsum([0] + [len(some) for some in sets])
        self.ids = torch.cat([some.ids + int(first) for some, first in zip(sets, self._first_ids, strict=False)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch | StackBatch:
        """The examples in the order asked for."""
        index = np.asarray(indices)
        sources = np.searchsorted(self._starts, index, side="right") - 1
        parts, order = [], []
        for source in np.unique(sources):
            mine = np.flatnonzero(sources == source)
            parts.append(self._sets[source].__getitems__((index[mine] - self._starts[source]).tolist()))
            order.append(mine)
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        ids, where = self.ids[torch.from_numpy(index)], torch.from_numpy(sources)
        if isinstance(parts[0], ImageBatch):
            return ImageBatch(ids, torch.cat([part.images for part in parts])[back], where)
        slices, valid = pad([stack for part in parts for stack in _unpad(part.slices, part.valid)])
        numbers, _ = pad([row for part in parts for row in _unpad(part.numbers, part.valid)], fill=-1)
        return StackBatch(ids, slices[back], valid[back], self._global(numbers[back], where), where)

    def draw_batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Batches of one epoch, as many as its examples fill, each composed by the shares. Raises DataError."""
        cap = int(self.max_share * batch_size + 1e-9)
        if cap * len(self._sets) < batch_size:
            raise DataError(
                f"a batch of {batch_size} cannot be filled by {len(self._sets)} sets of at most {self.max_share} each. "
                "Raise max_share, or change train.batch_size."
            )
        sizes = np.array([_num_shown(some, seed, epoch) for some in self._sets])
        if not sizes.all():
            raise DataError(
                f"data.{int(sizes.argmin())}: shows no example in epoch {epoch}, so no batch can hold its share. "
                "Take the set out, or change what it shows."
            )
        num_batches = int(sizes.sum()) // batch_size
        if not num_batches:
            raise DataError(
                f"{sizes.sum()} training examples of all sets, expected at least one batch of {batch_size}. "
                "Give more data, or lower batch_size."
            )
        goal = shares(sizes, cap / batch_size) * batch_size
        walks = [_walk(some, seed, epoch, source) for source, some in enumerate(self._sets)]
        credit, batches = np.zeros(len(sizes)), []
        for _ in range(num_batches):
            credit += goal
            counts = np.clip(np.floor(credit), 0, cap).astype(int)
            while counts.sum() != batch_size:
                step = 1 if counts.sum() < batch_size else -1
                open_ = counts < cap if step > 0 else counts > 0
                counts[np.where(open_, step * (credit - counts), -np.inf).argmax()] += step
            credit -= counts
            picked = [self._starts[s] + next(walks[s]) for s, count in enumerate(counts) for _ in range(count)]
            batches.append([int(i) for i in picked])
        return batches

    def _global(self, numbers: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        """Slice ids that differ between sets: each set's start on a line where none has more than 2^40 slices."""
        return torch.where(numbers < 0, numbers, numbers + sources[:, None] * 2**40)


def shares(sizes: np.ndarray, most: float) -> np.ndarray:
    """Shares in proportion to the sizes, none above `most`, summing to 1."""
    share = sizes / sizes.sum()
    for _ in sizes:
        over = share > most
        free = ~over & (share < most)
        extra = (share[over] - most).sum()
        share = np.where(over, most, share)
        if extra <= 0 or not free.any():
            break
        share[free] += extra * share[free] / share[free].sum()
    return share / share.sum()


def _preparation(data: Any) -> dict[str, Any]:
    """What a set does to a file of it, in words of its config."""
    told = {
        name: getattr(data, name) for name in ("axis", "upright", "percentiles", "score_range") if hasattr(data, name)
    }
    if hasattr(data, "cache"):
        told |= {name: getattr(data.cache, name) for name in ("spacing", "percentiles", "score_range")}
    return told


def _require_examples(number: int, data: Any, some: Any, part: str) -> None:
    """Raise DataError for a set without examples: no batch could hold its share."""
    if len(some):
        return
    source = getattr(data, "source", data)
    place = getattr(source, "root", None) or type(source).__name__
    raise DataError(
        f"data.{number}: {place} has no example in the {part} part; expected one or more of each set. "
        "Loosen what leaves slices out, as min_foreground, change the parts' fractions, or take the set out."
    )


def _num_shown(some: Any, seed: int, epoch: int) -> int:
    shown = shown_of(some, seed, epoch)
    return len(some) if shown is None else int(shown.sum())


def _walk(some: Any, seed: int, epoch: int, source: int) -> Any:
    """Positions of one set for ever, each pass in a new order."""
    turn, seed = 0, seed + 7919 * (source + 1)
    while True:
        pass_ = epoch + 100_003 * turn
        yield from epoch_batches(len(some), len(some), seed, pass_, False, shown_of(some, seed, pass_))[0]
        turn += 1


def _unpad(padded: torch.Tensor, valid: torch.Tensor) -> list[torch.Tensor]:
    return [row[mask] for row, mask in zip(padded, valid, strict=True)]
