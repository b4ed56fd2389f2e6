"""The Gaussian kernel exp(-|a - b|^2 / (2 bandwidth)): its sums over keys, and a bandwidth from the data."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph.losses import pairs

_MOST_ROWS = 512  # rows that a median is taken over: a matrix of constant size


def log_kernel_sums(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"] | None = None,
    rates: tuple[float, ...] = (1.0,),
) -> Float[Tensor, "h n"]:
    """log sum_j exp(-rate |q_i - k_j|^2) for each rate, self included; memory linear in n and m."""
    keys = queries if keys is None else keys
    center = queries.detach().mean(dim=0)  # changes no distance, keeps the small digits
    q = queries - center
    k = q if keys is queries else keys - center
    q_bias = -q.square().sum(dim=1)
    k_bias = q_bias if k is q else -k.square().sum(dim=1)
    heads = tuple((rate, ()) for rate in rates)
    sums = pairs.pair_lse(q, None if k is q else k, scale=2.0, row_bias=q_bias, col_bias=k_bias, heads=heads)
    assert isinstance(sums, Tensor)
    return sums


@torch.no_grad()
def median_bandwidth(points: Float[Tensor, "n d"], default: float = 0.5) -> float:
    """Half the median squared distance over pairs that differ, from at most 512 rows; `default` without such a pair."""
    step = -(-len(points) // _MOST_ROWS) if len(points) else 1
    rows = points[::step].double()
    rows = rows - rows.mean(dim=0) if len(rows) else rows
    lengths = rows.square().sum(dim=1)
    distances = (lengths[:, None] + lengths[None] - 2 * rows @ rows.T).triu(diagonal=1)
    found = distances[distances > 1e-9 * lengths.max()] if len(rows) else distances.flatten()  # rounding is no distance
    return float(found.quantile(0.5) / 2) if found.numel() else default
