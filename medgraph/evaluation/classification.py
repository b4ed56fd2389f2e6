"""AUC, balanced accuracy and accuracy of a classifier on the test part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation import per_case
from medgraph.evaluation.answers import answers
from medgraph.evaluation.scores import Scores


class ClassificationScores:
    """One row for the whole test part: AUC, balanced accuracy (mean recall over classes) and accuracy.

    With more than two classes, AUC is the mean over classes of each against the rest. A volume seen slice by slice gets
    the mean of its slices' probabilities.

    Args:
        batch_size: Images classified at once.
    """

    def __init__(self, batch_size: int = 64):
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.predict` (n, c, *size) -> logits (n, classes) on `data.test()`; leaves it in eval mode.

        Raises:
            DataError: A class does not occur in the test part.
        """
        found = answers(model, data, self.batch_size, device, is_class=True)
        check_classes(found.labels, data.spec.classes)
        shares = {
            "auc": per_case.mean_auc(found.labels, found.outputs),
            "balanced_accuracy": per_case.balanced_accuracy(found.labels, found.outputs.argmax(axis=1)),
            "accuracy": (found.labels == found.outputs.argmax(axis=1)).astype(float),
        }
        return Scores.of_whole("all", found.names, shares)


def check_classes(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise DataError unless every one of `classes`, by index, occurs in the test part's labels (n,)."""
    missing = sorted(set(range(len(classes))) - set(np.unique(labels).tolist()))
    if missing:
        names = ", ".join(classes[index] for index in missing)
        raise DataError(f"the test part has no example of {names}, expected some of each class to score. Change it.")
