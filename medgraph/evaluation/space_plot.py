"""A picture of feature spaces: every space a row, every attribute a column, one dot per target."""

import base64
import io
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

_MOST_DOTS = 1500


def plot_spaces(spaces: Mapping[str, np.ndarray], colors: Mapping[str, np.ndarray], categories: set[str]) -> str:
    """PNG in base64: the first two principal components of each space, colored by each attribute.

    Args:
        spaces: Features (n, d) by name.
        colors: Values (n,) by attribute; NaN is drawn gray.
        categories: Attributes whose values are class numbers.
    """
    figure = Figure(figsize=(2.6 * len(colors), 2.6 * len(spaces)), layout="constrained")
    for row, (space, features) in enumerate(spaces.items()):
        places = _two_components(features)
        for column, (attribute, values) in enumerate(colors.items()):
            axes = figure.add_subplot(len(spaces), len(colors), 1 + row * len(colors) + column)
            known = ~np.isnan(values)
            step = max(1, len(values) // _MOST_DOTS)
            axes.scatter(places[~known, 0][::step], places[~known, 1][::step], s=4, color="0.8")
            shown = "tab10" if attribute in categories else "viridis"
            x, y = places[known, 0][::step], places[known, 1][::step]
            axes.scatter(x, y, s=4, c=values[known][::step], cmap=shown)
            axes.set(xticks=[], yticks=[], title=attribute if row == 0 else "", ylabel=space if column == 0 else "")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()


def _two_components(features: np.ndarray) -> np.ndarray:
    centered = features - features.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    places = centered @ directions[:2].T
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))  # a space of one dimension has no second
