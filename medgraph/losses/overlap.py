"""Counts that losses of segmentation share: how much of each class is, is predicted, and overlaps."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.losses import inputs
from medgraph.losses.pairs.lse import refuse_not_finite


@dataclass(frozen=True, eq=False)
class Overlap:
    """Soft counts of a batch, over the voxels that are not labelled -100.

    Attributes:
        log_probabilities: `(n, c, *spatial)`, float32 or wider.
        labels: `(n, *spatial)`, 0 where unknown.
        known: Where a label is known, `(n, *spatial)`.
        overlap: Probability of the right class, summed over the voxels of each class, `(c,)`.
        predicted: Probability of each class, summed, `(c,)`.
        sizes: Voxels of each class, `(c,)`.
    """

    log_probabilities: Tensor
    labels: Tensor
    known: Tensor
    overlap: Tensor
    predicted: Tensor
    sizes: Tensor

    def cross_entropy(self) -> Tensor:
        """Mean over known voxels of -log p of the right class."""
        return self.mean(-self.of_label())

    def of_label(self) -> Tensor:
        """Log-probability of the right class, `(n, *spatial)`."""
        return self.log_probabilities.gather(1, self.labels.unsqueeze(1)).squeeze(1)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values (n, *spatial) over the known voxels; 0 without any."""
        return values.where(self.known, 0).sum() / self.known.sum().clamp_min(1)

    def counted(self, include_background: bool) -> Tensor:
        """Which classes occur, `(c,)`; the background only if it is to count."""
        occurs = self.sizes > 0
        if not include_background:
            occurs[0] = False
        return occurs


def measure(logits: Tensor, labels: Tensor) -> Overlap:
    """Counts of logits (n, c, *spatial) against labels (n, *spatial), after a look at both.

    Raises:
        TypeError: Logits are integers, or labels are not.
        ValueError: Fewer than 2 classes, shapes that do not fit, logits that are not finite, or unknown labels.
    """
    _check(logits, labels)
    num_classes = logits.shape[1]
    known = labels != -100
    if not torch.compiler.is_compiling() and len(labels) and not known.any():  # a graph cannot ask
        inputs.warn_of_zero(f"all {labels.numel()} voxels have no label")
    labels = labels.long().where(known, 0)
    log_probabilities = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(dim=1)
    probabilities = log_probabilities.exp()
    truth = F.one_hot(labels, num_classes).movedim(-1, 1) * known.unsqueeze(1)
    axes = [axis for axis in range(truth.ndim) if axis != 1]
    return Overlap(
        log_probabilities,
        labels,
        known,
        (probabilities * truth).sum(axes),
        (probabilities * known.unsqueeze(1)).sum(axes),
        truth.sum(axes),
    )


def _check(logits: Tensor, labels: Tensor) -> None:
    if not logits.is_floating_point():
        raise TypeError(f"logits: expected floating-point numbers, got {logits.dtype}")
    if labels.is_floating_point():
        raise TypeError(f"labels: expected whole numbers, one class per voxel, got {labels.dtype}")
    num_classes = logits.shape[1]
    if num_classes < 2:
        raise ValueError(f"logits: expected 2 or more classes on axis 1, background included, got {num_classes}")
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(f"labels: expected one class per voxel of logits {(*logits.shape,)}, got {(*labels.shape,)}")
    refuse_not_finite("logits", logits.flatten(1))
    if torch.compiler.is_compiling():
        return  # a graph cannot ask
    unknown = (labels < 0) & (labels != -100) | (labels >= num_classes)
    if unknown.any():
        raise ValueError(f"labels: expected classes 0 to {num_classes - 1} or -100, got {int(labels[unknown][0])}")
