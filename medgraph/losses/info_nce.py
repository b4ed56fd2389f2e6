"""InfoNCE: tell each query's own key from all other keys."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, units, with_positive
from medgraph.losses.pairs.terms import ExcludeSameId

MAX_SCALE = 100.0  # CLIP, arXiv:2103.00020, Sec. 2.5


class InfoNCE(ContrastiveLoss):
    """Contrastive loss of each query against every key [1], on request also of each key against every query [2].

    mean_i [ logsumexp_j(s_ij / temperature) - s_ii / temperature ],  s = cosine.

    Keys beyond the number of queries are further negatives of every query.

    [1] van den Oord et al., 2018, arXiv:1807.03748, Eq. 4. [2] Radford et al., 2021, arXiv:2103.00020, Fig. 3.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        symmetric: Also contrast each paired key with all queries, and average both directions (image and report).
        learnable_temperature: Train the logarithm of 1 / temperature. Each call first takes it back to log 100 where a
            step of the optimizer went beyond.
        label_smoothing: Share of the target spread evenly over all keys; guards against wrong pairs.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = InfoNCE(temperature=0.1)(torch.eye(4), torch.eye(4))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(
        self,
        temperature: float = 0.1,
        symmetric: bool = False,
        learnable_temperature: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))
        self.temperature = checks.positive("temperature", temperature)
        self.symmetric = symmetric
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        self.log_scale: nn.Parameter | None = None
        if learnable_temperature:
            checks.at_least("temperature", temperature, 1 / MAX_SCALE)
            self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"]) -> Float[Tensor, "..."]:
        n = len(queries)
        if len(keys) < n:
            raise ValueError(f"InfoNCE: {n} queries need at least {n} keys, their own first; got {len(keys)}")
        queries, keys = units(queries=queries, keys=keys)
        scale = self._scale()
        positive = own_logits(queries, keys[:n], scale)  # (n,), the logit of each query's own key
        ids = everyone.ids(keys, self.dist)
        # Without its own key, and softplus after that: exact where the own key's share is close to 1.
        terms = (ExcludeSameId(ids[:n], ids),)
        sums = pairs.pair_lse(queries, keys, scale=scale, terms=terms, columns=self.symmetric, dist=self.dist)
        over_keys = sums[0][0] if self.symmetric else sums[0]
        loss = with_positive(over_keys, positive) + self._smoothing(positive, queries, keys, scale)
        if self.symmetric:
            by_key = with_positive(sums[1][0][:n], positive) + self._smoothing(positive, keys[:n], queries, scale)
            loss = (loss + by_key) / 2
        return self.reduce(loss, None, "key", positive=positive, denominator=torch.logaddexp(over_keys, positive))

    def _scale(self) -> float | Tensor:
        if self.log_scale is None:
            return 1 / self.temperature
        with torch.no_grad():  # the parameter itself, as CLIP does: a clamp of its value has no gradient to lead back
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        return self.log_scale.exp()

    def _smoothing(self, positive: Tensor, anchors: Tensor, others: Tensor, scale: float | Tensor) -> Tensor | float:
        """What label smoothing adds: label_smoothing times (positive logit - mean logit over all others)."""
        if self.label_smoothing == 0:
            return 0.0
        center = everyone.total(others.sum(dim=0), self.dist) / everyone.count(others, self.dist)  # (d,)
        mean = scale * (anchors @ center)  # (n,), the mean logit over all others
        return (self.label_smoothing * (positive - mean)).to(mean.dtype)
