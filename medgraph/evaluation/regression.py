"""Mean absolute error and R squared of predicted numbers on the test part."""

import base64
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation import per_case
from medgraph.evaluation.answers import answers
from medgraph.evaluation.scores import Scores


class RegressionScores:
    """One row for the whole test part: mean absolute error, in the unit of the data, and R squared.

    R squared = 1 - sum of squared errors over sum of squared deviations from the test part's mean: 0 for a guess of
    that mean, below 0 for worse. A volume seen slice by slice gets the mean of its slices' numbers.

    Args:
        batch_size: Images at once.
    """

    def __init__(self, batch_size: int = 64):
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.predict` (n, c, *size) -> numbers (n, 1) on `data.test()`; leaves it in eval mode.

        Raises:
            DataError: Fewer than two different numbers in the test part.
        """
        found = answers(model, data, self.batch_size, device, is_class=False)
        truth, predicted = found.labels.astype(np.float64), found.outputs[:, 0]
        if len(np.unique(truth)) < 2:
            raise DataError(
                f"the test part has {len(truth)} cases and one number, expected two or more different ones. Change it."
            )
        shares = {"mae": np.abs(truth - predicted), "r2": per_case.r_squared(truth, predicted)}
        figure = {"title": f"Predicted and true {data.spec.target}", "png": _plot(truth, predicted, data.spec.target)}
        scores = Scores.of_whole(data.spec.target, found.names, shares)
        return Scores(scores.rows, figures=[figure], per_case=scores.per_case)


def _plot(truth: np.ndarray, predicted: np.ndarray, name: str) -> str:
    """Predicted over true numbers, as PNG in base64."""
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color="gray", linewidth=0.8)
    axes.scatter(truth, predicted, s=12)
    axes.set(xlabel=f"true {name}", ylabel="predicted")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
