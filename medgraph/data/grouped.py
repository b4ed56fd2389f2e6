"""Two groups of images, background and target, with what is known about each example."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medgraph.data.batches import GroupedImageBatch
from medgraph.errors import DataError


@dataclass(frozen=True)
class Attribute:
    """One fact about an example, read by evaluators and by supervised training only.

    Attributes:
        name: Its name.
        role: "common" if it varies in both groups alike, "salient" if only targets have it.
        num_classes: Number of categories, numbered from 0; 0 for a number.
    """

    name: str
    role: str
    num_classes: int = 0


class GroupedImages:
    """A data set of two groups whose images are made when asked for.

    The same ones each time; with `redraw`, a batch that `at_epoch` marked is drawn for that epoch.

    Args:
        make: Images `(b, c, *size)` of the examples at these positions.
        is_target: Group of each example, `(n,)` bool.
        attributes: Known facts `(n, k)`; NaN where one is not known.
        subjects: Number of the subject, or of the picture, that each example was made from, `(n,)`.
        name: What messages call the set.
        redraw: Images, and attributes (b, k), of the examples at these positions in an epoch; None: nothing changes.

    Attributes:
        ids: Id of each example, `(n,)` long.

    Raises:
        DataError: One group is empty.
    """

    def __init__(
        self,
        make: Callable[[Sequence[int]], Tensor],
        is_target: Tensor,
        attributes: Tensor,
        subjects: Tensor,
        name: str,
        redraw: Callable[[Sequence[int], int], tuple[Tensor, Tensor]] | None = None,
    ):
        num_targets = int(is_target.sum())
        for group, count in (("target", num_targets), ("background", len(is_target) - num_targets)):
            if count == 0:
                remedy = "Give images without and with the pattern of interest" if len(is_target) else "Split otherwise"
                raise DataError(
                    f"{name}: the {group} group is empty, expected examples of both groups. {remedy}; {len(is_target)} "
                    "examples were found."
                )
        self._make, self._redraw = make, redraw
        self.is_target, self.attributes, self.subjects = is_target, attributes.float(), subjects
        self.ids = torch.arange(len(is_target))

    def __len__(self) -> int:
        return len(self.ids)

    def at_epoch(self, batches: list[list[int]], epoch: int) -> list[list[int]]:
        """The batches of positions of one epoch, marked for it: each position moves up by whole lengths of the set."""
        return [[n + (epoch + 1) * len(self) for n in batch] for batch in batches] if self._redraw else batches

    def __getitems__(self, indices: Sequence[int]) -> GroupedImageBatch:
        marks = [divmod(int(n), len(self)) for n in indices]
        places = [place for _, place in marks]
        index = torch.as_tensor(places, dtype=torch.long)
        if self._redraw is not None and marks and marks[0][0] > 0:
            images, attributes = self._redraw(places, marks[0][0] - 1)
            return GroupedImageBatch(self.ids[index], images, self.is_target[index], attributes.float())
        return GroupedImageBatch(self.ids[index], self._make(places), self.is_target[index], self.attributes[index])


def no_validation(name: str) -> DataError:
    """What to raise where choices are asked to be made and no training example was kept aside."""
    return DataError(
        f"{name}: nothing is kept aside for validation. Set data.validation_share, 0.2 say: that much less is trained "
        "on. The test part is for figures, not for choices."
    )
