"""Diagnostics: what embeddings and codes look like, without gradient; a watch for collapse."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph.losses import pairs
from medgraph.losses.alignment import Alignment
from medgraph.losses.pairs.softmax import softmax
from medgraph.losses.uniformity import Uniformity


@torch.no_grad()
def uniformity(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """log mean exp(-2 |z_i - z_j|^2) of the normalized embeddings; 0 is collapse, about -4 is well spread."""
    return Uniformity(bandwidth=0.25)(_unit(embeddings))


@torch.no_grad()
def alignment(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared distance of normalized views, from 0 (equal) to 4 (opposite)."""
    return Alignment(bandwidth=0.5)(_unit(first), _unit(second))


@torch.no_grad()
def tolerance(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean cosine over pairs of different examples with the same label; 0 if there is no such pair.

    By sums per label, in time and memory linear in n: the cosines within a label add up to |sum z|^2.
    """
    unit = _unit(embeddings).double()
    classes, index = labels.unique(return_inverse=True)
    sums = unit.new_zeros(len(classes), unit.shape[1]).index_add_(0, index, unit)
    sizes = torch.bincount(index, minlength=len(classes))
    total = sums.square().sum() - unit.square().sum()
    return (total / (sizes * (sizes - 1)).sum().clamp_min(1)).to(embeddings.dtype)


@torch.no_grad()
def spectrum(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Eigenvalues of the covariance over the batch, largest first; a cliff to 0 shows unused directions."""
    wide = embeddings.double()
    centered = wide - wide.mean(dim=0)
    covariance = centered.T @ centered / max(len(wide) - 1, 1)
    return torch.linalg.eigvalsh(covariance).flip(0).clamp_min(0).to(embeddings.dtype)


@torch.no_grad()
def effective_rank(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """exp of the entropy of the centered rows' singular values as shares [1]: directions in use, 1 to d; 0 if none.

    [1] Roy and Vetterli, 2007, The effective rank, Def. 1.
    """
    wide = embeddings.double()
    values = spectrum(wide).sqrt()
    total = values.sum()
    if total <= 1e-5 * wide.square().sum(dim=1).mean().sqrt():  # identical rows up to rounding
        return embeddings.new_zeros(())
    return entropy(values[None] / total).exp().to(embeddings.dtype)


@torch.no_grad()
def entropy(codes: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Mean entropy of the rows in nats: 0 for hard codes, log k for uniform ones."""
    return torch.special.entr(codes if codes.dtype == torch.float64 else codes.float()).sum(dim=1).mean()


@torch.no_grad()
def used_share(scores_or_codes: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Share of the prototypes that are the best one of at least one example."""
    num_prototypes = scores_or_codes.shape[1]
    return (scores_or_codes.argmax(dim=1).bincount(minlength=num_prototypes) > 0).float().mean()


@torch.no_grad()
def positive_share(queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, ""]:
    """Mean probability of each query's own key among all keys: 1 / n by chance, 1 when told apart."""
    queries, keys = _unit(queries), _unit(keys)
    own = (queries * keys).sum(dim=1) / temperature
    return (own - pairs.pair_lse(queries, keys, scale=1 / temperature)[0]).exp().mean()


@torch.no_grad()
def hardness(queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, ""]:
    """Mean entropy of each query's softmax over the other keys, in nats: log(n - 1) if all are equally hard.

    Near 0 a single negative decides; memory is linear.
    """
    queries, keys = _unit(queries), _unit(keys)
    others = pairs.terms.ExcludeSameId(torch.arange(len(queries), device=queries.device))
    scale = 1 / temperature
    shares = softmax(queries, keys, scale=scale, terms=(others,))
    expected = pairs.pair_sum(queries, keys, phi="identity", scale=scale, terms=(shares, others))
    return (pairs.pair_lse(queries, keys, scale=scale, terms=(others,))[0] - expected).mean()


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)
