"""How much of a slice's content a linear classifier reads from frozen features."""

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medgraph import checks
from medgraph.evaluation import slice_content
from medgraph.evaluation.scores import Scores


class LinearProbe:
    """Logistic regression on frozen features, standardised on the training slices, classes weighted equally.

    Args:
        penalty_weight: Weight of the squared coefficients; larger gives a smoother classifier.
        batch_size: Slices encoded at once.
        max_iterations: Steps of the solver at most.
    """

    def __init__(self, penalty_weight: float = 1.0, batch_size: int = 64, max_iterations: int = 1000):
        self.penalty_weight = checks.positive("penalty_weight", penalty_weight)
        self.batch_size = checks.at_least("batch_size", batch_size, 1)
        self.max_iterations = checks.at_least("max_iterations", max_iterations, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Recall per test volume and class of the probe on `model.encoder`, fitted on `data.train()`."""
        found = slice_content.read(model.encoder, data, self.batch_size, device)
        logistic = LogisticRegression(C=1 / self.penalty_weight, class_weight="balanced", max_iter=self.max_iterations)
        classifier = make_pipeline(StandardScaler(), logistic).fit(found.train, found.train_labels)
        return slice_content.score(classifier, found, data.spec.classes)
