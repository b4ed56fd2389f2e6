"""Sinkhorn: soft codes that spread a batch evenly over the prototypes."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "n k"], epsilon: float = 0.05, iterations: int = 3) -> Float[Tensor, "n k"]:
    """Codes of SwAV [1] by the Sinkhorn-Knopp algorithm, in the log domain.

    With X = scores / epsilon, f = 0, repeat:  g_k = -log k - LSE_i(X_ik + f_i),  f_i = -log n - LSE_k(X_ik + g_k);
    codes = n exp(X + f + g).  Each row sums to 1; each column comes closer to n / k with every iteration.
    Never overflows, however small `epsilon`. Half-precision scores are taken, and codes given, in float32.

    [1] Caron et al., 2020, arXiv:2006.09882, Sec. 3.1; Cuturi, 2013, arXiv:1306.0895.

    Args:
        scores: Similarity of each example to each prototype.
        epsilon: Smooths the codes; larger makes them uniform, smaller makes them hard.
        iterations: Rounds of balancing; more bring the columns closer to equal totals.

    Example:
        >>> sinkhorn(torch.eye(2), epsilon=0.05).round().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    checks.positive("epsilon", epsilon)
    checks.at_least("iterations", iterations, 1)
    n, k = scores.shape
    if n == 0 or k == 0:
        raise ValueError(f"scores: expected at least one example and one prototype, got shape {(n, k)}")
    logits = (scores if scores.dtype == torch.float64 else scores.float()) / epsilon
    rows = logits.new_zeros(n, 1)
    for _ in range(iterations):
        columns = -math.log(k) - torch.logsumexp(logits + rows, dim=0, keepdim=True)  # (1, k)
        rows = -math.log(n) - torch.logsumexp(logits + columns, dim=1, keepdim=True)  # (n, 1)
    return (logits + columns).softmax(dim=1)  # n exp(logits + rows + columns), rows summing to 1 to the last bit
