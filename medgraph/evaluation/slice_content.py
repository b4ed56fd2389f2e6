"""What a slice shows, as one class; and what a frozen encoder makes of it: the input of every probe."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medgraph.errors import DataError
from medgraph.evaluation.frozen import finite
from medgraph.evaluation.scores import Scores


@dataclass(frozen=True)
class SliceContent:
    """Frozen features of slices, each with the class that it shows.

    Attributes:
        train: Features of the training slices, `(n, d)`.
        train_labels: Their classes, `(n,)`.
        test: Features and classes of each test volume, by case.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: dict[str, tuple[np.ndarray, np.ndarray]]


def read(encoder: nn.Module, data: Any, batch_size: int, device: str) -> SliceContent:
    """Features of `data.train()` and `data.test()`; the encoder is left in eval mode, on `device`.

    Raises:
        DataError: All training slices show the same class, so that there is nothing to tell apart; a feature is not
            finite.
    """
    encoder.eval().to(device)
    dataset = data.train()
    parts, shown = [], []
    for start in range(0, len(dataset), batch_size):
        batch = dataset.__getitems__(range(start, min(start + batch_size, len(dataset))))
        parts.append(_features(encoder, batch.images, batch_size, device))
        shown.append(content(batch.labels.numpy(), len(data.spec.classes)))
    labels = np.concatenate(shown)
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"all {len(labels)} training slices show {data.spec.classes[labels[0]]!r}, expected at least two classes. "
            "Slice along another axis, or give more labelled volumes."
        )
    test = {}
    for case in data.test():
        truth = content(np.asarray(case.record.cut_native(case.labels)), len(data.spec.classes))
        test[case.id] = (_features(encoder, case.images, batch_size, device), truth)
    return SliceContent(np.concatenate(parts), labels, test)


def content(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Class of each slice (n, h, w): the commonest but background, which counts only where it is alone."""
    counts = np.stack([(labels == index).sum(axis=(1, 2)) for index in range(1, num_classes)], axis=1)  # (n, classes-1)
    return np.where(counts.any(axis=1), 1 + counts.argmax(axis=1), 0)


def score(classifier: Any, found: SliceContent, classes: tuple[str, ...]) -> Scores:
    """Recall of a fitted classifier per test volume and class; a class that a volume does not show has no row.

    Features that say nothing give a mean recall of 1 over the number of classes, where each volume shows all classes.
    """
    rows = []
    for case, (features, truth) in found.test.items():
        right = classifier.predict(features) == truth
        for index in np.unique(truth):
            rows.append({"case": case, "label": classes[index], "recall": float(right[truth == index].mean())})
    return Scores(rows)


@torch.no_grad()
def _features(encoder: nn.Module, images: Tensor, batch_size: int, device: str) -> np.ndarray:
    parts = [encoder(part.to(device)).float().cpu() for part in images.split(batch_size)]
    return finite(torch.cat(parts).numpy().astype(np.float64))
