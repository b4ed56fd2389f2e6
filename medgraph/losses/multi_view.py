"""MVInfoNCE and MVDHEL: contrast any number of views of each example at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, unit
from medgraph.losses.pairs.softplus import softplus
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyNegatives


class MVInfoNCE(ContrastiveLoss):
    """InfoNCE whose numerator and denominator hold all views of an example together.

    mean_i [ logsumexp_v logsumexp_{(j, w) != (i, v)} x_{iv,jw} - logsumexp_{v != w} x_{iv,iw} ],
    x = cosine / temperature. Sums stay logarithms, so six views do not overflow.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        same_view_negatives: Whether other examples in the anchor's own view are negatives too.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = MVInfoNCE(temperature=0.1)(torch.eye(4).repeat(3, 1, 1))
        >>> round(loss.item(), 4)
        0.0002
    """

    def __init__(
        self,
        temperature: float = 0.1,
        same_view_negatives: bool = True,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)
        self.same_view_negatives = same_view_negatives

    def forward(self, views: Float[Tensor, "v n d"]) -> Float[Tensor, "..."]:
        views = _units(views)
        num_views, n, _ = views.shape
        stacked = views.flatten(0, 1)
        view = torch.arange(num_views, device=views.device).repeat_interleave(n)
        others = ExcludeSameId(everyone.ids(views[0], self.dist).repeat(num_views))
        terms = (others,) if self.same_view_negatives else (others, OnlyNegatives(view))
        negative = pairs.pair_lse(stacked, scale=1 / self.temperature, terms=terms, dist=self.dist)[0]
        own = _own_views(views) / self.temperature  # (n, v, v)
        own = own.masked_fill(torch.eye(num_views, dtype=torch.bool, device=views.device), -torch.inf)
        positive = own.flatten(1).logsumexp(dim=1)
        negative = negative.view(num_views, n)
        empty = (negative == -torch.inf).all(dim=0)
        negative = negative.masked_fill(empty, 0).logsumexp(dim=0).masked_fill(empty, -torch.inf)
        loss = softplus(negative - positive)  # exact where the own views' share is close to 1
        over_all = torch.logaddexp(negative, positive)
        return self.reduce(loss, None, "view", positive=positive, denominator=over_all)


class MVDHEL(ContrastiveLoss):
    """Decoupled hyperspherical energy loss of many views: each view repels on its own, all views attract together.

    mean_i [ sum_v logsumexp_{j != i} x_{iv,jv} - logsumexp_{v < w} x_{iv,iw} ],  x = cosine / temperature.

    The value may be negative. A single example has no negatives: the loss is 0.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> round(MVDHEL(temperature=1.0)(torch.eye(4).repeat(2, 1, 1)).item(), 4)
        1.1972
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)

    def forward(self, views: Float[Tensor, "v n d"]) -> Float[Tensor, "..."]:
        views = _units(views)
        num_views = len(views)
        others, scale = ExcludeSameId(everyone.ids(views[0], self.dist)), 1 / self.temperature
        over_others = [pairs.pair_lse(view, scale=scale, terms=(others,), dist=self.dist)[0] for view in views]
        energy = torch.stack(over_others).sum(dim=0)
        v, w = torch.triu_indices(num_views, num_views, 1, device=views.device)
        attraction = (scale * _own_views(views)[:, v, w]).logsumexp(dim=1)
        valid = energy.isfinite()
        return self.reduce(energy - attraction, valid, "negative", positive=attraction, denominator=energy)


def _units(views: Tensor) -> Tensor:
    """Each row at length 1 (v, n, d)."""
    if views.ndim != 3 or len(views) < 2:
        raise ValueError(
            f"views: expected shape (views, examples, dim) with at least 2 views, got {tuple(views.shape)}"
        )
    return unit(views.flatten(0, 1), "views").view_as(views)


def _own_views(views: Tensor) -> Tensor:
    """Cosines between the views of each example (n, v, v)."""
    return torch.einsum("vnd,wnd->nvw", views, views)
