"""LabelAlignment: examples of similar continuous labels (age) lie close together."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.anchors import ContrastiveLoss
from medgraph.losses.pairs.distances import GaussianKernel
from medgraph.losses.pairs.lse import check_embeddings, refuse_not_finite
from medgraph.losses.pairs.terms import ExcludeSameId, LabelDistance


class LabelAlignment(ContrastiveLoss):
    """Mean squared distance of all pairs of examples, weighted by a kernel on their labels.

    mean_i [ sum_{j != i} w_ij |z_i - z_j|^2 / (2 bandwidth) / sum_{j != i} w_ij ],
    w_ij = exp(-|y_i - y_j|^2 / (2 label_bandwidth)).

    Embeddings are used as they are, not normalized. A single example has no other: the loss is 0. An anchor all of
    whose labels lie so far away that their weights vanish is left out. Memory is linear; sums run in double
    precision, in which the distances within a cluster survive those between clusters.

    Args:
        bandwidth: Variance of the Gaussian kernel of the matching `Uniformity`; larger weakens the pull.
        label_bandwidth: Variance of the kernel on labels, in their squared units; larger draws more pairs together.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.

    Example:
        >>> loss = LabelAlignment(bandwidth=0.5)(torch.tensor([[0.0], [3.0]]), torch.tensor([40.0, 41.0]))
        >>> round(loss.item(), 4)
        9.0
    """

    def __init__(self, bandwidth: float = 0.5, label_bandwidth: float = 1.0, reduction: str = "mean"):
        super().__init__()
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.label_bandwidth = checks.positive("label_bandwidth", label_bandwidth)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))

    def forward(
        self, embeddings: Float[Tensor, "n d"], labels: Float[Tensor, "n *l"] | Int[Tensor, "n *l"]
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: numbers (n,) or vectors (n, l) as labels."""
        checks.same_length(embeddings=embeddings, labels=labels)
        check_embeddings("embeddings", embeddings)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        (x,) = inputs.in_double(embeddings)
        refuse_not_finite("labels", labels[:, None].flatten(1))
        x = x - x.detach().mean(dim=0)  # changes no distance, keeps the small digits of a far-away cloud
        kernel = LabelDistance(
            everyone.from_least(labels, x, None), None, GaussianKernel(math.sqrt(self.label_bandwidth))
        )
        terms = (kernel, ExcludeSameId(torch.arange(len(x), device=x.device)))
        log_weight = pairs.pair_lse(x.detach(), terms=terms, heads=((0.0, ()),))[0]
        squares = x.square().sum(dim=1)
        total = pairs.pair_sum(x, phi="identity", scale=-2.0, row_bias=squares, col_bias=squares, terms=terms)
        weight = log_weight.exp()
        valid = weight > torch.finfo(dtype).tiny
        loss = total / (2 * self.bandwidth * weight.masked_fill(~valid, 1))
        return self.reduce(loss.to(dtype), valid, "other example")
