"""PrototypeContrast: tell each example's centroid from the other centroids (ProtoNCE)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.losses import pairs


class PrototypeContrast(nn.Module):
    """Contrast with the centroids of several clusterings, each centroid with its own temperature [1].

    mean over clusterings and examples of
    logsumexp_k( <z_i, centroid_k> / concentration_k ) - <z_i, centroid_y> / concentration_y,   y = label of i.

    Embeddings are normalized. Centroids and concentrations carry no gradient. Examples labelled -100 are left out; if
    a clustering labels none its term is 0.

    [1] Li et al., 2021, arXiv:2005.04966.

    Example:
        >>> loss = PrototypeContrast()(torch.eye(2), [torch.eye(2)], [torch.arange(2)], [torch.tensor([0.1, 0.1])])
        >>> loss.item() < 1e-4
        True
    """

    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        centroids: Sequence[Float[Tensor, "_ d"]],
        labels: Sequence[Int[Tensor, " n"]] | Int[Tensor, "r n"],
        concentrations: Sequence[Float[Tensor, " _"]],
    ) -> Float[Tensor, ""]:
        """Loss of a batch; one entry of `centroids`, `labels` and `concentrations` per clustering."""
        if not len(centroids) == len(labels) == len(concentrations) > 0:
            raise ValueError(
                "expected one entry per clustering and at least one, "
                f"got centroids: {len(centroids)}, labels: {len(labels)}, concentrations: {len(concentrations)}"
            )
        queries = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)
        terms = [self._term(queries, *each) for each in zip(centroids, labels, concentrations, strict=True)]
        return torch.stack(terms).mean()

    @staticmethod
    def _term(queries: Tensor, centroids: Tensor, labels: Tensor, concentration: Tensor) -> Tensor:
        keys = (centroids / concentration[:, None]).detach().to(queries.dtype)  # temperature folded into the key
        known = labels != -100
        own = (queries * keys[labels.where(known, 0)]).sum(dim=1)  # (n,), the logit of each example's own centroid
        losses = pairs.pair_lse(queries, keys)[0] - own
        return (losses * known).sum() / known.sum().clamp_min(1)
