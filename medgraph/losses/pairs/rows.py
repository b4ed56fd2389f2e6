"""`map_rows`: what needs whole rows of the score matrix, block by block, recomputed for the gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK = 256  # rows held at once


def map_rows(function: Callable[..., Tensor], num_rows: int, *inputs: Any, block: int = BLOCK) -> Tensor:
    """function(rows, *inputs) of every block of rows, one after the other along the first axis.

    For losses that sort, sample or rescale whole rows, which `pair_lse` cannot. Memory O(block * keys): the backward
    pass computes each block again. The function must be deterministic; it may seed a generator from the rows.

    Args:
        function: Takes a slice of rows and the inputs; returns one entry per row.
        num_rows: Rows in all.
        inputs: Handed on; gradients reach the tensors among them.
        block: Rows held at once.
    """
    parts = [
        checkpoint(
            function,
            slice(i, min(i + block, num_rows)),
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for i in range(0, max(num_rows, 1), block)
    ]
    return torch.cat(parts)
