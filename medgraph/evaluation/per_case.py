"""Figures of a whole test part as means over its cases, so that differences can be paired and intervals drawn.

Each function gives one number per case: the figure plus the first-order influence of the case. Their mean is the figure
itself, and the spread of that mean is the figure's (for the AUC it is that of DeLong et al., 1988).
"""

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of scores (n,) for labels (n,) of 0 and 1; ties count half."""
    positive = labels == 1
    placed = np.empty(len(labels))
    for mine, sign in ((positive, 1), (~positive, -1)):
        others = np.sort(sign * scores[~mine])
        own = sign * scores[mine]
        below = np.searchsorted(others, own) + np.searchsorted(others, own, side="right")
        placed[mine] = below / (2 * len(others))  # share of the other class on the right side of the case
    figure = placed[positive].mean()
    return figure + len(labels) * (placed - figure) / np.where(positive, positive.sum(), (~positive).sum())


def mean_auc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """AUC of probabilities (n, k): of the second class where k is 2, else the mean over classes, each against all."""
    if probabilities.shape[1] == 2:
        return auc(labels, probabilities[:, 1])
    each = [auc((labels == index).astype(int), probabilities[:, index]) for index in range(probabilities.shape[1])]
    return np.mean(each, axis=0)


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean over classes of the share that is recognised; labels and predicted are (n,) class indices."""
    right = (labels == predicted).astype(float)
    classes, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    recalls = np.bincount(number, right) / counts
    return recalls.mean() + len(labels) * (right - recalls[number]) / (len(classes) * counts[number])


def r_squared(values: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """1 - sum of squared errors over sum of squared deviations from the mean, both (n,)."""
    errors, deviations = np.square(values - predicted), np.square(values - values.mean())
    ratio = errors.sum() / deviations.sum()
    return 1 - ratio - (errors - ratio * deviations) / deviations.mean()
