"""`first_order`: a backward pass without second derivatives, which says so instead of leaving them out."""

import functools
from collections.abc import Callable
from typing import Any

import torch


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """The backward pass of an autograd function, which raises RuntimeError where its gradient is to be differentiated.

    torch's `once_differentiable` does so only if the gradient that comes from above requires one itself; below a mean
    or a sum it does not, and what depends on the inputs would be lost without a word.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *upstream: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{type(ctx).__name__}: has first derivatives only, expected a gradient without create_graph=True. "
                'Leave gradient penalties out, or call pair_lse and pair_sum with backend="dense".'
            )
        return backward(ctx, *upstream)

    return checked
