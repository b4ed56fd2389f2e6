"""What SepCLR's losses see: the codes of both views, and the group of each example."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import processes
from medgraph.losses.salient_uniformity import clamped


def joined(views: Sequence[Tensor]) -> Tensor:
    """Views one after the other, for one pass; channels last in memory, which halves the time of a pass on a CPU."""
    images = torch.cat(list(views))
    return images.contiguous(memory_format=torch.channels_last if images.ndim == 4 else torch.channels_last_3d)


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of two views of the same examples, in single precision or better.

    Attributes:
        common: Unit rows `(n, p)` of each view.
        salient: Rows `(n, q)` of each view, not normalised.
        is_target: Whether each example is of the target group, `(n,)` bool.
    """

    common: tuple[Tensor, Tensor]
    salient: tuple[Tensor, Tensor]
    is_target: Tensor

    @classmethod
    def of_views(cls, common: Tensor, salient: Tensor, is_target: Tensor) -> "Codes":
        """From embeddings (2n, d) of both views, the first view's rows first."""
        common, salient = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (common, salient))
        first_common, second_common = F.normalize(common, dim=1, eps=1e-12).chunk(2)
        first_salient, second_salient = salient.chunk(2)
        return cls((first_common, second_common), (first_salient, second_salient), is_target)

    @classmethod
    def unpacked(cls, rows: Tensor, is_target: Tensor, common_dim: int) -> "Codes":
        """From what `packed` gave; `common_dim` is the width of a common code."""
        first_common, second_common = rows[:, : 2 * common_dim].chunk(2, dim=1)
        first_salient, second_salient = rows[:, 2 * common_dim :].chunk(2, dim=1)
        return cls((first_common, second_common), (first_salient, second_salient), is_target)

    def packed(self) -> Tensor:
        """All codes of an example in one row, without gradient (n, 2p + 2q)."""
        return torch.cat([*self.common, *self.salient], dim=1).detach()

    @property
    def clamped(self) -> tuple[Tensor, Tensor]:
        """Salient codes with the background's replaced by s' = 0, through which it gets no gradient."""
        return clamped(self.salient[0], self.is_target), clamped(self.salient[1], self.is_target)

    def gathered(self) -> "Codes":
        """The codes of all processes, with gradient: every process then computes the same loss over all pairs."""
        sizes = processes.counts(self.is_target)

        def everyone(x: Tensor) -> Tensor:
            return processes.gather(x, sizes=sizes)

        return Codes(
            (everyone(self.common[0]), everyone(self.common[1])),
            (everyone(self.salient[0]), everyone(self.salient[1])),
            everyone(self.is_target.long()).bool(),
        )
