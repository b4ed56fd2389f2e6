"""`softmax`: the shares of all keys in each query's softmax, as a pair term of linear memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph.losses.pairs.lse import pair_lse
from medgraph.losses.pairs.term import PairTerm
from medgraph.losses.pairs.terms import LowRankBias


def softmax(q: Tensor, k: Tensor | None = None, *, scale: float = 1.0, terms: Sequence[PairTerm] = ()) -> LowRankBias:
    """The term log P_ij = scale <q_i, k_j> - logsumexp_j'(scale <q_i, k_j'>), the sum running over what `terms` keep.

    Use it together with `terms`. It weighs a `pair_sum` by another model's softmax: sum_j P_ij x_ij. A query without
    any key gets shares of 0 where `terms` removes all its keys.
    """
    over_rows = pair_lse(q, k, scale=scale, terms=terms)[0]
    over_rows = over_rows.masked_fill(over_rows == -torch.inf, 0)
    keys = q if k is None else k
    dtype = over_rows.dtype
    u = torch.cat([scale * q.to(dtype), -over_rows[:, None]], dim=1)
    return LowRankBias(u, torch.cat([keys.to(dtype), torch.ones(len(keys), 1, dtype=dtype, device=keys.device)], dim=1))
