"""AUC and balanced accuracy of a classifier on the test part."""

from typing import Any

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation.scores import Scores


class ClassificationScores:
    """One row for the whole test part: AUC and balanced accuracy (mean recall over classes).

    With more than two classes, AUC is the mean over classes of each against the rest.

    Args:
        batch_size: Images classified at once.
    """

    def __init__(self, batch_size: int = 64):
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    @torch.no_grad()
    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.predict` (n, c, *size) -> logits (n, classes) on `data.test()`; leaves it in eval mode.

        Raises:
            DataError: A class does not occur in the test part.
        """
        model.eval().to(device)
        test = data.test()
        starts = range(0, len(test), self.batch_size)
        batches = [test.__getitems__(range(i, min(i + self.batch_size, len(test)))) for i in starts]
        found = [model.predict(batch.images.to(device)).float().softmax(dim=1).cpu() for batch in batches]
        probabilities, labels = torch.cat(found).double().numpy(), test.labels.numpy()
        missing = sorted(set(range(len(data.spec.classes))) - set(np.unique(labels).tolist()))
        if missing:
            names = ", ".join(data.spec.classes[index] for index in missing)
            raise DataError(
                f"the test part has no example of {names}, expected some of each class to score. Change it."
            )
        scores = (
            probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities / probabilities.sum(1, keepdims=True)
        )
        row = {"case": "test", "label": "all", "auc": float(roc_auc_score(labels, scores, multi_class="ovr"))}
        accuracy = float(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))
        return Scores([row | {"balanced_accuracy": accuracy}])
