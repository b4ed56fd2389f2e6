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
    """A data set of two groups whose images are made when asked for, the same ones each time.

    Args:
        make: Images `(b, c, *size)` of the examples at these positions.
        is_target: Group of each example, `(n,)` bool.
        attributes: Known facts `(n, k)`; NaN where one is not known.
        subjects: Number of the subject, or of the picture, that each example was made from, `(n,)`.
        name: What messages call the set.

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
    ):
        num_targets = int(is_target.sum())
        for group, count in (("target", num_targets), ("background", len(is_target) - num_targets)):
            if count == 0:
                raise DataError(
                    f"{name}: the {group} group is empty, expected examples of both groups. "
                    f"Give images without and with the pattern of interest; {len(is_target)} examples were found."
                )
        self._make = make
        self.is_target, self.attributes, self.subjects = is_target, attributes.float(), subjects
        self.ids = torch.arange(len(is_target))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> GroupedImageBatch:
        index = torch.as_tensor(list(indices), dtype=torch.long)
        images = self._make(index.tolist())
        return GroupedImageBatch(self.ids[index], images, self.is_target[index], self.attributes[index])
