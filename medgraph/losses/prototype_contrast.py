"""PrototypeContrast: tell each example's centroid from the other centroids (ProtoNCE)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss, unit


class PrototypeContrast(ContrastiveLoss):
    """Contrast with the centroids of several clusterings, each centroid with its own temperature [1].

    mean over clusterings and examples of
    logsumexp_k( <z_i, centroid_k> / concentration_k ) - <z_i, centroid_y> / concentration_y,   y = label of i.

    Embeddings are normalized. Centroids and concentrations carry no gradient. Examples labelled -100 are left out; if
    a clustering labels none its term is 0.

    [1] Li et al., 2021, arXiv:2005.04966.

    Args:
        num_negatives: Centroids drawn as negatives beside those that the batch is labelled with; None takes all.
        seed: Of the draw, when the loss is called without a generator.
        reduction: "mean" or "sum" over the labelled examples of a clustering, or "none" for one value per example, 0
            where it has no label; over clusterings always the mean.

    Example:
        >>> loss = PrototypeContrast()(torch.eye(2), [torch.eye(2)], [torch.arange(2)], [torch.tensor([0.1, 0.1])])
        >>> loss.item() < 1e-4
        True
    """

    def __init__(self, num_negatives: int | None = None, seed: int = 0, reduction: str = "mean"):
        super().__init__()
        self.num_negatives = num_negatives
        if num_negatives is not None:
            checks.at_least("num_negatives", num_negatives, 1)
        self.seed = seed
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))

    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        centroids: Sequence[Float[Tensor, "_ d"]],
        labels: Sequence[Int[Tensor, " n"]] | Int[Tensor, "r n"],
        concentrations: Sequence[Float[Tensor, " _"]],
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of a batch; one entry of `centroids`, `labels` and `concentrations` per clustering.

        `rng`, on the CPU, draws the negatives; without it every call draws alike from `seed`.
        """
        if not len(centroids) == len(labels) == len(concentrations) > 0:
            raise ValueError(
                "expected one entry per clustering and at least one, "
                f"got centroids: {len(centroids)}, labels: {len(labels)}, concentrations: {len(concentrations)}"
            )
        queries = unit(embeddings)
        if rng is None and self.num_negatives is not None:
            rng = torch.Generator().manual_seed(self.seed)
        terms = [self._term(queries, *each, rng) for each in zip(centroids, labels, concentrations, strict=True)]
        return torch.stack(terms).mean(dim=0)

    def _term(
        self, queries: Tensor, centroids: Tensor, labels: Tensor, concentration: Tensor, rng: torch.Generator | None
    ) -> Tensor:
        checks.same_length(embeddings=queries, labels=labels)
        checks.same_length(centroids=centroids, concentrations=concentration)
        _check(labels, concentration)
        keys = (centroids / concentration[:, None]).detach().to(queries.dtype)  # temperature folded into the key
        known = labels != -100
        own = (queries * keys[labels.where(known, 0)]).sum(dim=1)  # (n,), the logit of each example's own centroid
        if self.num_negatives is not None:
            assert rng is not None
            keys = keys[_kept(labels[known], len(keys), self.num_negatives, rng)]
        denominator = pairs.pair_lse(queries, keys)[0]
        return self.reduce(denominator - own, known, "label", positive=own, denominator=denominator)


def _check(labels: Tensor, concentration: Tensor) -> None:
    if torch.compiler.is_compiling():
        return  # a graph cannot ask
    if not bool((concentration > 0).all()):
        raise ValueError(f"concentrations: expected numbers above 0, got a minimum of {concentration.min().item()}")
    unknown = (labels != -100) & ((labels < 0) | (labels >= len(concentration)))
    if bool(unknown.any()):
        raise ValueError(
            f"labels: expected centroids 0 to {len(concentration) - 1}, or -100, got {int(labels[unknown][0])}"
        )


def _kept(labels: Tensor, num_centroids: int, num_negatives: int, rng: torch.Generator) -> Tensor:
    """Indices of the centroids of the batch and of `num_negatives` others, drawn without replacement."""
    used = torch.zeros(num_centroids, dtype=torch.bool)
    used[labels.cpu()] = True
    order = torch.randperm(num_centroids, generator=rng)
    drawn = order[~used[order]][:num_negatives]
    return torch.cat([used.nonzero().flatten(), drawn]).to(labels.device)
