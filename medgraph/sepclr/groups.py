"""Batches that hold both groups, background and target, in fixed numbers."""

import numpy as np
from torch import Tensor

from medgraph import checks, processes
from medgraph.errors import DataError

_FEWEST = 2  # of each group: a uniformity needs a pair


def grouped_batches(
    is_target: Tensor, batch_size: int, target_share: float, seed: int, epoch: int, num_processes: int | None = None
) -> list[list[int]]:
    """Indices of each batch of one epoch: as many targets in each, so in each process too, and no example twice.

    The group with more batches to give is walked once, the other one as often as needed, in a new order each time.
    Rows of a batch are in random order. Processes take one batch each; as their codes meet, no example is in two of
    these batches either, where its group is large enough for that.

    Args:
        is_target: Group of each example (n,).
        batch_size: Examples of a batch.
        target_share: Share of targets.
        seed, epoch: Draw the order.
        num_processes: Processes that take batches, one after the other; None takes those there are.

    Raises:
        DataError: A group is smaller than its part of a batch, or the batch too small to hold two of each group.
    """
    share = checks.fraction("target_share", target_share)
    num_target = round(batch_size * share)
    sizes = {"target": num_target, "background": batch_size - num_target}
    if min(sizes.values()) < _FEWEST:
        raise DataError(
            f"a batch of {batch_size} with target_share {share:g} holds {sizes['background']} background and "
            f"{sizes['target']} target examples, expected {_FEWEST} or more of each. Raise train.batch_size, or bring "
            "method.target_share closer to 0.5."
        )
    members = {"target": is_target.nonzero()[:, 0].numpy(), "background": (~is_target).nonzero()[:, 0].numpy()}
    for group, found in members.items():
        if len(found) < sizes[group]:
            raise DataError(
                f"the {group} group has {len(found)} examples, but a batch of {batch_size} takes {sizes[group]} of it. "
                "Give more data, lower train.batch_size, or change method.target_share."
            )
    at_once = processes.world_size() if num_processes is None else num_processes
    count = max(_whole(len(found) // sizes[group], at_once) for group, found in members.items())
    rng = np.random.default_rng([seed, epoch])
    rows = {group: _walk(found, sizes[group], count, at_once, rng) for group, found in members.items()}
    return [rng.permutation([*rows["target"][n], *rows["background"][n]]).tolist() for n in range(count)]


def _whole(count: int, at_once: int) -> int:
    """What is left of `count` batches where as many are taken at once; all of fewer."""
    return count - count % at_once if count >= at_once else count


def _walk(members: np.ndarray, size: int, count: int, at_once: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`count` draws of `size` members without repetition in a draw; each walk through all members is shuffled anew."""
    drawn: list[np.ndarray] = []
    walked = _whole(len(members) // size, at_once)
    while len(drawn) < count:
        order = rng.permutation(members)
        drawn += [order[n * size : (n + 1) * size] for n in range(walked)]
    return drawn[:count]
