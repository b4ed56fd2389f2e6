"""Random numbers that depend on (seed, number, example id) only: a counter-based hash, whole batches at once."""

from typing import Any

import torch
from torch import Tensor

_MASK = (1 << 32) - 1


def uniforms(seed: int, number: int, ids: Tensor, count: int, stream: int = 0) -> Tensor:
    """Numbers in [0, 1), one row per example, the same whatever else is in the batch.

    Args:
        seed: Seed of the run.
        number: Draws before this one: optimiser steps, or epochs.
        ids: Global example ids (n,).
        count: Numbers per example.
        stream: Keeps the draws of different transforms and crops apart.

    Returns:
        (n, count) float32 on the device of `ids`.
    """
    state = torch.full_like(ids, 0x9E3779B9)[:, None]
    counter = torch.arange(count, device=ids.device)[None]
    for word in (seed & _MASK, (seed >> 32) & _MASK, number & _MASK, stream, ids[:, None] & _MASK, counter):
        state = _mix(state ^ word)
    return (state >> 8).float() / (1 << 24)


def pair_uniforms(seed: int, number: int, first: Tensor, second: Tensor, stream: int = 0) -> Tensor:
    """Numbers in [0, 1), one for each pair of ids, the same whatever other pairs are asked for.

    Args:
        seed: Seed of the run.
        number: Draws before this one: optimiser steps, or epochs.
        first: Ids (n,), as the source of an edge.
        second: Ids (n,), as its destination.
        stream: Keeps the draws of different purposes apart.

    Returns:
        (n,) float32 on the device of the ids.
    """
    start = 0x9E3779B9
    for word in (seed & _MASK, (seed >> 32) & _MASK, number & _MASK, stream):
        start = _mix(start ^ word)
    state = _mix(_mix(first.long() ^ start) ^ second.long())
    return (state >> 8).float() / (1 << 24)


def _mix(x: Any) -> Any:
    """An avalanche of 32 bits held in int64: every input bit reaches every output bit (lowbias32)."""
    x = (x ^ (x >> 16)) & _MASK
    x = (x * 0x21F0AAAD) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & _MASK
    return x ^ (x >> 15)


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Stretch numbers in [0, 1) to [low, high)."""
    return low + (high - low) * uniform
