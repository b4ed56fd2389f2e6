"""How often the nearest training slices, by frozen features, show the same content."""

from typing import Any

from sklearn.neighbors import KNeighborsClassifier

from medgraph import checks
from medgraph.errors import DataError
from medgraph.evaluation import slice_content
from medgraph.evaluation.scores import Scores


class KNNProbe:
    """Vote of the nearest training slices by cosine distance, nearer ones counting more.

    Args:
        num_neighbors: Slices that vote; more is smoother, and favours frequent classes.
        batch_size: Slices encoded at once.
    """

    def __init__(self, num_neighbors: int = 20, batch_size: int = 64):
        self.num_neighbors = checks.at_least("num_neighbors", num_neighbors, 1)
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Recall per test volume and class of the vote on `model.encoder`'s features of `data.train()`.

        Raises:
            DataError: Fewer training slices than neighbors.
        """
        found = slice_content.read(model.encoder, data, self.batch_size, device)
        if len(found.train) < self.num_neighbors:
            raise DataError(
                f"{len(found.train)} training slices, but num_neighbors is {self.num_neighbors}. "
                "Lower num_neighbors, or give more labelled volumes."
            )
        classifier = KNeighborsClassifier(self.num_neighbors, weights="distance", metric="cosine")
        return slice_content.score(classifier.fit(found.train, found.train_labels), found, data.spec.classes)
