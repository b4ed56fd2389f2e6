"""Contrast of a batch with its keys and a queue of old ones, without the pull to one point that a plain queue brings.

With a plain queue all embeddings meet in one point (measured: within 15 steps, at learning rates of 1e-3 and 1e-4),
for two reasons. The mean of old keys lags behind that of the present ones, so queries run on from where keys came
from, and through the shared layers the keys run with them. And each query spends most of its push on keys that cannot
move, while every key that can is still drawn by its own query with full force. So old keys are moved along with the
mean, and the push on the keys of the batch is made whole.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.clustering.queue import Queue


def contrast(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    queries: Tensor,
    keys: Tensor,
    ids: Tensor,
    queue: Queue | None,
    temperature: float,
) -> Tensor:
    """loss(queries, keys and those in the queue), the push of negatives on `keys` times (b + held - 1) / (b - 1).

    Old keys of the nodes of the batch are left out: they would repel what is to stay close to them.

    Args:
        loss: Of unit rows and the ids of the keys, a mean over queries of a denominator over keys minus
            <query, its key> / temperature.
        queries: Unit rows (b, d).
        keys: Unit rows (b, d), the key of each query.
        ids: Node of each key (b,).
        queue: Old keys; None or empty changes nothing.
        temperature: That of the loss.
    """
    if queue is None or len(queue) == 0:
        return loss(queries, keys, ids)
    others = ~torch.isin(queue.ids(), ids)
    old, old_ids = queue.vectors()[others], queue.ids()[others]
    held = len(old)
    if held == 0:
        return loss(queries, keys, ids)
    factor = (len(keys) + held - 1) / max(len(keys) - 1, 1)
    pushed = keys.detach() + factor * (keys - keys.detach())  # the same value with a larger gradient
    every = torch.cat([pushed, _moved(old.to(keys.dtype), keys.detach())])
    value = loss(queries, every, torch.cat([ids, old_ids]))
    drawn = (queries.detach() * keys).sum(dim=1).mean() / temperature
    return value + (factor - 1) * (drawn - drawn.detach())  # the pull of its own query stays as it was


def _moved(old: Tensor, keys: Tensor) -> Tensor:
    """Old keys moved by what separates their mean from that of the present ones, unit rows again."""
    return F.normalize(old + (keys.mean(dim=0) - old.mean(dim=0)), dim=1)
