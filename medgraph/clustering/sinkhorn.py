"""Sinkhorn: soft codes that spread a batch evenly over the prototypes."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks, processes
from medgraph.losses.pairs.lse import pair_lse, refuse_not_finite


@torch.no_grad()
def sinkhorn(
    scores: Float[Tensor, "n k"],
    epsilon: float = 0.05,
    iterations: int = 3,
    *,
    row_weights: Float[Tensor, " n"] | None = None,
    column_weights: Float[Tensor, " k"] | None = None,
    together: bool = False,
) -> Float[Tensor, "n k"]:
    """Codes of SwAV [1] by the Sinkhorn-Knopp algorithm, in the log domain.

    With X = scores / epsilon, f = 0, repeat:  g_k = -log k - LSE_i(X_ik + f_i),  f_i = -log n - LSE_k(X_ik + g_k);
    codes = n exp(X + f + g).  Each row sums to 1; each column comes closer to n / k with every iteration.
    Any `epsilon` will do that leaves scores / epsilon finite. A score of -inf bars an example from a prototype.
    Half-precision scores are taken, and codes given, in float32.

    [1] Caron et al., 2020, arXiv:2006.09882, Sec. 3.1; Cuturi, 2013, arXiv:1306.0895.

    Args:
        scores: Similarity of each example to each prototype.
        epsilon: Smooths the codes; larger makes them uniform, smaller makes them hard.
        iterations: Rounds of balancing; more bring the columns closer to equal totals.
        row_weights: How much each example counts in the balance, at any scale; one of 2 counts like two equal examples,
            one of 0 gets a code but moves none.
        column_weights: Share of the examples that each prototype aims at, at any scale; None is equal shares.
        together: Balance over the examples of all processes; only the k column sums are exchanged.

    Raises:
        ValueError: A row holds NaN or infinity, or -inf alone; weights do not fit.

    Example:
        >>> sinkhorn(torch.eye(2), epsilon=0.05).round().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    logits = scores if scores.dtype == torch.float64 else scores.float()
    logits = logits / checks.positive("epsilon", epsilon)

    def over_examples(rows: Tensor) -> Tensor:
        return torch.logsumexp(logits + rows[:, None], dim=0)

    def over_prototypes(columns: Tensor) -> Tensor:
        return torch.logsumexp(logits + columns, dim=1)

    shares = _log_shares(logits, logits.shape, row_weights, column_weights, together)
    refuse_not_finite("scores", scores.amax(dim=1, keepdim=True))
    return (logits + _balance(over_examples, over_prototypes, *shares, iterations, together)).softmax(dim=1)


@torch.no_grad()
def balance(
    embeddings: Float[Tensor, "n d"],
    prototypes: Float[Tensor, "k d"],
    epsilon: float = 0.05,
    iterations: int = 3,
    *,
    row_weights: Float[Tensor, " n"] | None = None,
    column_weights: Float[Tensor, " k"] | None = None,
    together: bool = False,
) -> Float[Tensor, " k"]:
    """What `sinkhorn` adds to the logits of each prototype, in memory linear in n and k: scores exist tile by tile.

    The codes of any rows follow as  softmax(rows @ prototypes.T / epsilon + balance).

    Args:
        embeddings: One row per example.
        prototypes: Rows that embeddings are scored against.
        epsilon, iterations, row_weights, column_weights, together: As of `sinkhorn`.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
        >>> codes = (z @ torch.eye(2) / 0.5 + balance(z, torch.eye(2), epsilon=0.5)).softmax(dim=1)
        >>> torch.allclose(codes, sinkhorn(z, epsilon=0.5))
        True
    """
    scale = 1 / checks.positive("epsilon", epsilon)

    def over_examples(rows: Tensor) -> Tensor:
        return pair_lse(prototypes, embeddings, scale=scale, col_bias=rows)[0]

    def over_prototypes(columns: Tensor) -> Tensor:
        return pair_lse(embeddings, prototypes, scale=scale, col_bias=columns)[0]

    like = embeddings.new_empty(0, dtype=torch.promote_types(embeddings.dtype, torch.float32))
    size = torch.Size((len(embeddings), len(prototypes)))
    shares = _log_shares(like, size, row_weights, column_weights, together)
    return _balance(over_examples, over_prototypes, *shares, iterations, together)


def _balance(
    over_examples: Callable[[Tensor], Tensor],
    over_prototypes: Callable[[Tensor], Tensor],
    row_shares: Tensor,
    column_shares: Tensor,
    iterations: int,
    together: bool,
) -> Tensor:
    """The columns' potential g after so many rounds, from the two half steps and the logarithms of the marginals."""
    checks.at_least("iterations", iterations, 1)
    rows = row_shares  # f = 0 but for the weights, so that an example of weight 2 counts like two from the start
    for step in range(iterations):
        sums = over_examples(rows)
        columns = column_shares - (_merged(sums) if together else sums)
        if step < iterations - 1:
            rows = row_shares - over_prototypes(columns)
    return columns


def _log_shares(
    like: Tensor, shape: torch.Size, row_weights: Tensor | None, column_weights: Tensor | None, together: bool
) -> tuple[Tensor, Tensor]:
    """Logarithms of the marginals, each summing to 1: over the examples of all processes, and over the prototypes."""
    n, k = shape
    rows = like.new_ones(n) if row_weights is None else row_weights.to(like)
    columns = like.new_ones(k) if column_weights is None else column_weights.to(like)
    for name, weights, size in (("row_weights", rows, n), ("column_weights", columns, k)):
        if weights.shape != (size,) or not (weights >= 0).all():
            raise ValueError(f"{name}: expected {size} numbers of 0 or more, got shape {tuple(weights.shape)}")
    total = processes.all_reduce_sum(rows.sum()) if together else rows.sum()
    if total <= 0 or columns.sum() <= 0:
        raise ValueError(f"scores: expected at least one example and one prototype with weight, got shape {(n, k)}")
    return (rows / total).log(), (columns / columns.sum()).log()


def _merged(sums: Tensor) -> Tensor:
    """Log-sum-exp over processes of their log sums: first the maximum, then the sum."""
    top = processes.all_reduce_max(sums)
    return top + processes.all_reduce_sum((sums - top).exp()).log()
