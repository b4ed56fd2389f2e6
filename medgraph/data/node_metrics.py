"""F1 and AUC of many classifiers at once, equal to scikit-learn's."""

import torch
from torch import Tensor


def f1(predicted: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Macro-F1 and Micro-F1 of each classifier; a class that is neither predicted nor present does not count.

    Args:
        predicted: Classes (classifiers, n).
        labels: True classes (n,).
        num_classes: Number of classes.
    """
    count = torch.zeros(len(predicted), num_classes, dtype=torch.float64, device=predicted.device)
    ones = count.new_ones(predicted.shape)
    right = count.clone().scatter_add_(1, predicted, (predicted == labels).double())
    guessed = count.clone().scatter_add_(1, predicted, ones)
    present = count.clone().scatter_add_(1, labels.expand_as(predicted), ones)
    total = guessed + present
    each = 2 * right / total.clamp_min(1)
    macro = each.sum(1) / (total > 0).sum(1)
    return macro, right.sum(1) / predicted.shape[1]


def auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve, each class against the rest, mean over the classes present, of each classifier.

    Args:
        probabilities: (classifiers, n, classes).
        labels: True classes (n,).
    """
    areas = []
    for index in labels.unique().tolist():
        areas.append(_area(probabilities[:, :, index].double(), labels == index))
    return torch.stack(areas).mean(0)


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    """Probability that a positive scores above a negative, ties half, by mean ranks (classifiers,)."""
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores.contiguous())
    upto = torch.searchsorted(ordered, scores.contiguous(), right=True)
    ranks = (below + upto + 1).double() / 2  # mean rank among ties, from 1
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_negative == 0:
        return torch.full((len(scores),), torch.nan, dtype=torch.float64, device=scores.device)
    return (ranks[:, positive].sum(1) - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)
