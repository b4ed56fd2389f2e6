"""YAwareInfoNCE: keys of similar continuous labels (age) are positives, the more similar the more."""

import math

from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, paired
from medgraph.losses.pairs.distances import GaussianKernel
from medgraph.losses.pairs.lse import refuse_not_finite
from medgraph.losses.pairs.terms import LabelDistance


class YAwareInfoNCE(ContrastiveLoss):
    """InfoNCE with kernel-weighted positives [1].

    mean_i [ logsumexp_j x_ij - sum_j w_ij x_ij / sum_j w_ij ],  x = cosine / temperature,
    w_ij = exp(-|y_i - y_j|^2 / (2 bandwidth)).

    Every key is a positive to the degree of its label, the query's own key fully. Towards bandwidth 0, with labels all
    different, this is InfoNCE. Memory is linear, time that of two passes over all pairs.

    [1] Dufumier et al., 2021, arXiv:2106.08808, Eq. 3 (which adds the constant -log n).

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        bandwidth: Variance of the kernel, in squared units of the labels; larger calls more keys positive.
        reduction: "mean" or "sum" over the anchors, or "none" for one value each.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> import torch
        >>> loss = YAwareInfoNCE(temperature=0.1)(torch.eye(4), torch.eye(4), 50.0 * torch.arange(4))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(
        self, temperature: float = 0.1, bandwidth: float = 1.0, reduction: str = "mean", dist: str | None = None
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self,
        queries: Float[Tensor, "n d"],
        keys: Float[Tensor, "n d"],
        labels: Float[Tensor, "n *l"] | Int[Tensor, "n *l"],
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: numbers (n,) or vectors (n, l) as labels, scaled so that one bandwidth suits all."""
        checks.same_length(queries=queries, keys=keys, labels=labels)
        queries, keys = paired(queries=queries, keys=keys)
        refuse_not_finite("labels", labels[:, None].flatten(1))
        labels = everyone.from_least(labels, queries, self.dist)
        scale = 1 / self.temperature
        kernel = LabelDistance(labels, None, GaussianKernel(math.sqrt(self.bandwidth)))
        heads = ((1.0, ()), (0.0, (kernel,)))
        denominator, log_weight = pairs.pair_lse(queries, keys, scale=scale, heads=heads, dist=self.dist)
        total = pairs.pair_sum(queries, keys, phi="identity", scale=scale, terms=(kernel,), dist=self.dist)
        positive = total / log_weight.exp()  # the query's own key has weight 1, so no weight is 0
        return self.reduce(denominator - positive, None, "key", positive=positive, denominator=denominator)
