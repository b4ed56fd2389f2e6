"""What a model answers to each case of a test part: one vector, the mean over the case's examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medgraph.errors import DataError


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a model, and the truth.

    Attributes:
        outputs: Answer to each case, `(n, k)` float64.
        labels: Class or number of each case, `(n,)`.
        names: Name of each case.
    """

    outputs: np.ndarray
    labels: np.ndarray
    names: list[str]


@torch.no_grad()
def answers(model: Any, data: Any, batch_size: int, device: str, is_class: bool) -> Answers:
    """Answers of `model.predict` (n, c, *size) -> (n, k) on `data.test()`; leaves the model in eval mode.

    Args:
        model: Also has `eval()` and `to(device)`.
        data: Its test part gives batches with `images`, and has `labels` and `groups`, the case of each example.
        batch_size: Examples at once.
        device: Where to compute.
        is_class: Turn each example's outputs into probabilities before the mean over the case.

    Raises:
        DataError: An answer is not finite.
    """
    model.eval().to(device)
    test = data.test()
    starts = range(0, len(test), batch_size)
    batches = (test.__getitems__(range(i, min(i + batch_size, len(test)))) for i in starts)
    found = torch.cat([model.predict(batch.images.to(device)).float().cpu() for batch in batches]).double()
    outputs = (found.softmax(dim=1) if is_class else found).numpy()
    wrong = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if len(wrong):
        raise DataError(
            f"model: answers {len(wrong)} of {len(outputs)} test examples, the first number {wrong[0]}, with NaN or "
            "infinity, expected finite numbers. Did the training diverge? Lower its learning rate."
        )
    return by_case(outputs, test)


def by_case(outputs: np.ndarray, test: Any) -> Answers:
    """The mean of the outputs (n, k) of a test part's examples over each case, with the case's label and name.

    Args:
        outputs: An answer to each example.
        test: Has `ids` and `labels`; where several examples are of one case, `groups`, the case of each; at will
            `names`, those of the cases.
    """
    groups, first, number = np.unique(getattr(test, "groups", test.ids).numpy(), return_index=True, return_inverse=True)
    total = np.zeros((len(groups), outputs.shape[1]))
    np.add.at(total, number, outputs)
    known = getattr(test, "names", None)
    names = [str(group) if known is None else known[group] for group in groups]
    return Answers(total / np.bincount(number)[:, None], test.labels.numpy()[first], names)
