"""Predictions averaged over flipped versions of their input."""

from collections.abc import Callable, Sequence
from itertools import combinations

from torch import Tensor


def averaged(logits: Callable[[Tensor], Tensor], x: Tensor, axes: Sequence[int]) -> Tensor:
    """Log of the mean probability (n, classes, *size) over all combinations of flips of x (n, c, *size).

    Args:
        logits: Maps x to logits of the same size.
        x: Images or volumes.
        axes: Spatial axes to flip, the first is 0; none gives plain logits.
    """
    if not axes:
        return logits(x)
    choices = [subset for size in range(len(axes) + 1) for subset in combinations(axes, size)]
    total = None
    for subset in choices:
        dims = [axis + 2 for axis in subset]
        probabilities = logits(x.flip(dims)).float().softmax(dim=1).flip(dims)
        total = probabilities if total is None else total + probabilities
    assert total is not None  # the empty subset is always there
    return (total / len(choices)).clamp_min(1e-30).log()  # a class of probability 0 stays finite
