"""What a ridge regression reads from the frozen features of whole images or volumes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation import per_case
from medgraph.evaluation.answers import by_case
from medgraph.evaluation.frozen import frozen_features
from medgraph.evaluation.scores import Scores


class RidgeProbe:
    """Ridge regression on frozen features, standardised on the training part, where each example has one number.

    Mean absolute error, in the unit of the data, and R squared of the test part, see `regression`. Of a volume encoder,
    its slice encoder where an example is a single image. A volume seen slice by slice gets the mean of its slices'
    numbers.

    Args:
        penalty_weights: Weights of the squared coefficients, of which leave-one-out on the training part chooses one.
        batch_size: Examples encoded at once.
        cells: 0 reads the vector that the encoder gives; more reads all maps of its pyramid, each averaged in so many
            cells along every axis.
    """

    def __init__(
        self,
        penalty_weights: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0),
        batch_size: int = 32,
        cells: int = 0,
    ):
        self.penalty_weights = tuple(checks.positive("penalty_weights", weight) for weight in penalty_weights)
        checks.at_least("penalty_weights: length", len(self.penalty_weights), 1)
        self.batch_size = checks.at_least("batch_size", batch_size, 1)
        self.cells = checks.at_least("cells", cells, 0)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of the probe on `model.encoder`, fitted on `data.train()`; the encoder is left in eval mode.

        Raises:
            DataError: The data have no number for each example, or fewer than two different ones to test on; a feature
                is not finite.
            ConfigError: `cells` of an encoder without maps.
        """
        if not data.spec.target:
            raise DataError("ridge_probe: the data name no number of each example, expected one, see `target`.")
        encoder = model.encoder.eval().to(device)
        train, test = data.train(), data.test()
        features = [frozen_features(encoder, part, self.batch_size, device, self.cells) for part in (train, test)]
        fitted = make_pipeline(StandardScaler(), RidgeCV(list(self.penalty_weights)))
        fitted.fit(features[0], train.labels.double().numpy())
        found = by_case(fitted.predict(features[1])[:, None], test)
        truth, predicted = found.labels.astype(np.float64), found.outputs[:, 0]
        if len(np.unique(truth)) < 2:
            raise DataError(
                f"the test part has {len(truth)} cases and one number, expected two or more different ones. Change it."
            )
        shares = {"mae": np.abs(truth - predicted), "r2": per_case.r_squared(truth, predicted)}
        return Scores.of_whole(data.spec.target, found.names, shares)
