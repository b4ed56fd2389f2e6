"""What a logistic regression reads from the frozen features of whole images or volumes."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation import classification, per_case
from medgraph.evaluation.answers import by_case
from medgraph.evaluation.frozen import frozen_features
from medgraph.evaluation.scores import Scores


class LogisticProbe:
    """Logistic regression on frozen features, standardised on the training part, where each example has one class.

    Of a volume encoder, its slice encoder where an example is a single image.

    AUC, balanced accuracy (mean recall over classes) and accuracy of the test part. With more than two classes, AUC is
    the mean over classes of each against the rest. A class that no training example has gets probability 0. A volume
    seen slice by slice gets the mean of its slices' probabilities.

    Args:
        penalty_weight: Weight of the squared coefficients; larger gives a smoother classifier.
        balanced: Weight classes against their frequency.
        batch_size: Examples encoded at once.
        max_iterations: Steps of the solver at most.
        cells: 0 reads the vector that the encoder gives; more reads all maps of its pyramid, each averaged in so many
            cells along every axis.
    """

    def __init__(
        self,
        penalty_weight: float = 1.0,
        balanced: bool = False,
        batch_size: int = 32,
        max_iterations: int = 2000,
        cells: int = 0,
    ):
        self.penalty_weight = checks.positive("penalty_weight", penalty_weight)
        self.balanced = balanced
        self.batch_size = checks.at_least("batch_size", batch_size, 1)
        self.max_iterations = checks.at_least("max_iterations", max_iterations, 1)
        self.cells = checks.at_least("cells", cells, 0)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of the probe on `model.encoder`, fitted on `data.train()`; the encoder is left in eval mode.

        Raises:
            DataError: A class does not occur in the test part, or the training part has one alone; a feature is not
                finite.
            ConfigError: `cells` of an encoder without maps.
        """
        encoder = model.encoder.eval().to(device)
        train, test = data.train(), data.test()
        classification.check_classes(test.labels.numpy(), data.spec.classes)
        if len(np.unique(train.labels)) < 2:
            raise DataError(
                f"all {len(train.labels)} training examples are {data.spec.classes[int(train.labels[0])]!r}, expected "
                "at least two classes. Change the training part."
            )
        logistic = LogisticRegression(
            C=1 / self.penalty_weight,
            class_weight="balanced" if self.balanced else None,
            max_iter=self.max_iterations,
        )
        features = [frozen_features(encoder, part, self.batch_size, device, self.cells) for part in (train, test)]
        fitted = make_pipeline(StandardScaler(), logistic).fit(features[0], train.labels.numpy())
        probabilities = np.zeros((len(test), len(data.spec.classes)))
        probabilities[:, fitted.classes_] = fitted.predict_proba(features[1])
        found = by_case(probabilities, test)
        predicted = found.outputs.argmax(axis=1)
        shares = {
            "auc": per_case.mean_auc(found.labels, found.outputs),
            "balanced_accuracy": per_case.balanced_accuracy(found.labels, predicted),
            "accuracy": (found.labels == predicted).astype(float),
        }
        return Scores.of_whole("all", found.names, shares)
