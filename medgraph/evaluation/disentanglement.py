"""Whether each salient dimension holds one attribute: scores of every attribute from every dimension, and DCI."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

_MOST_FITTED = 2000  # examples: more changes little
_TREES = 30


@dataclass(frozen=True)
class Disentanglement:
    """From 0 to 1: whether a dimension matters for one attribute alone, and an attribute depends on one dimension."""

    disentanglement: float
    completeness: float


def importances(features: np.ndarray, attributes: np.ndarray, is_category: Sequence[bool], seed: int = 0) -> np.ndarray:
    """How much each dimension matters to a random forest for each attribute, `(d, k)`; columns sum to 1.

    Args:
        features: Dimensions (n, d).
        attributes: Values (n, k); an example is left out for the attributes that are NaN.
        is_category: Which attributes are class numbers.
        seed: Draws examples and trees.
    """
    columns = []
    for values, category in zip(attributes.T, is_category, strict=True):
        known = np.flatnonzero(~np.isnan(values))
        chosen = np.random.default_rng(seed).permutation(known)[:_MOST_FITTED]
        kind = RandomForestClassifier if category else RandomForestRegressor
        forest = kind(_TREES, min_samples_leaf=5, max_features=None, random_state=seed)
        forest.fit(features[chosen], values[chosen].astype(int) if category else values[chosen])
        columns.append(forest.feature_importances_)
    return np.stack(columns, axis=1)


def dci(importance: np.ndarray) -> Disentanglement:
    """Disentanglement and completeness of importances `(d, k)` (Eastwood and Williams, 2018, ICLR).

    1 - entropy of each dimension's importances over attributes, weighted by how much it matters at all; and 1 - entropy
    of each attribute's importances over dimensions, averaged. Entropies are shares of the largest possible one.
    """
    total = importance.sum()
    if total == 0 or min(importance.shape) < 2:
        return Disentanglement(0.0, 0.0)
    of_dimension = 1 - _entropy(importance) / np.log(importance.shape[1])
    of_attribute = 1 - _entropy(importance.T) / np.log(importance.shape[0])
    weights = importance.sum(axis=1) / total
    return Disentanglement(float((weights * of_dimension).sum()), float(of_attribute.mean()))


def _entropy(rows: np.ndarray) -> np.ndarray:
    """Entropy of each row as shares; that of an empty row is the largest possible."""
    sums = rows.sum(axis=1, keepdims=True)
    shares = np.where(sums > 0, rows / np.maximum(sums, 1e-300), 1 / rows.shape[1])
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)


def plot_matrix(scores: np.ndarray, dimensions: Sequence[str], attributes: Sequence[str]) -> str:
    """PNG in base64: scores `(d, k)` as shades and numbers, a row for each dimension."""
    figure = Figure(figsize=(1.2 + 0.9 * len(attributes), 1.0 + 0.5 * len(dimensions)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(scores, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(attributes)), attributes, rotation=30, ha="right")
    axes.set_yticks(range(len(dimensions)), dimensions)
    for (row, column), score in np.ndenumerate(scores):
        axes.text(column, row, f"{score:.2f}", ha="center", va="center", color="black" if score > 0.6 else "white")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()
