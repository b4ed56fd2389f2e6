"""What losses ask of their inputs beside what `anchors` asks, and what they say of a batch that gives them nothing."""

import warnings

import torch
from torch import Tensor

from medgraph import checks
from medgraph.losses.pairs.lse import check_embeddings, refuse_not_finite


def check_rows(**embeddings: Tensor) -> None:
    """Raise TypeError or ValueError unless all are finite floating-point rows (n, d), equally many of each."""
    for name, x in embeddings.items():
        check_embeddings(name, x)
    checks.same_length(**embeddings)


def check_groups(is_target: Tensor, **embeddings: Tensor) -> None:
    """What `check_rows` asks, and one boolean per row."""
    check_rows(**embeddings)
    if is_target.dtype != torch.bool:
        raise TypeError(f"is_target: expected one boolean per example, got {is_target.dtype}")
    if is_target.ndim != 1:
        raise ValueError(f"is_target: expected shape (examples,), got {tuple(is_target.shape)}")
    checks.same_length(**embeddings, is_target=is_target)


def check_lists(predictions: Tensor, targets: Tensor) -> None:
    """Raise TypeError or ValueError unless both are finite numbers (n,), the predictions floating-point."""
    if not predictions.is_floating_point():
        raise TypeError(f"predictions: expected floating-point numbers, got {predictions.dtype}")
    for name, x in {"predictions": predictions, "targets": targets}.items():
        if x.ndim != 1:
            raise ValueError(f"{name}: expected shape (examples,), got {tuple(x.shape)}")
        refuse_not_finite(name, x[:, None])
    checks.same_length(predictions=predictions, targets=targets)


def whole(name: str, labels: Tensor) -> Tensor:
    """Labels (n,) of any whole type, as int64. Raises TypeError for fractions, ValueError for another shape."""
    if labels.is_floating_point():
        raise TypeError(f"{name}: expected whole numbers, got {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected one per example, shape (n,), got {tuple(labels.shape)}")
    return labels.long()


def same_width(**embeddings: Tensor) -> None:
    """Raise ValueError unless the last axis of all is equally long; names every width."""
    widths = {name: x.shape[-1] for name, x in embeddings.items()}
    if len(set(widths.values())) > 1:
        raise ValueError("expected the same width, got " + ", ".join(f"{name}: {d}" for name, d in widths.items()))


def in_double(*embeddings: Tensor) -> tuple[Tensor, ...]:
    """All in double precision; what holds no floating-point numbers stays, for the checks to refuse."""
    return tuple(z.double() if z.is_floating_point() else z for z in embeddings)


def warn_of_zero(reason: str) -> None:
    """Warn that a batch gives the loss nothing to work on; a compiled loss, which cannot ask, stays silent."""
    if not torch.compiler.is_compiling():
        warnings.warn(f"{reason}: the loss of this batch is 0", stacklevel=3)
