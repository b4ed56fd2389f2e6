"""Seeded loaders: which examples form which batch, and how a batch is fetched."""

import sys
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from medgraph.errors import DataError


def epoch_batches(
    num_examples: int,
    batch_size: int,
    seed: int,
    epoch: int,
    drop_last: bool = True,
    shown: np.ndarray | None = None,
) -> list[list[int]]:
    """Indices of each batch of one epoch, in an order drawn from (seed, epoch).

    Args:
        num_examples: Examples there are.
        batch_size: Examples of a batch.
        seed: Seed of the run.
        epoch: Epochs finished.
        drop_last: Leave out the last batch if it is incomplete.
        shown: Which examples `(num_examples,)` the epoch shows; None shows all.

    Raises:
        DataError: The last, incomplete batch is dropped and no other is left.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)
    order = order if shown is None else order[shown[order]]
    if drop_last and len(order) < batch_size:
        raise DataError(
            f"{len(order)} training examples, expected at least one batch of {batch_size}. "
            "Give more data, or lower batch_size."
        )
    batches = [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches


def draw_batches(dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each whole batch of one epoch. A dataset with a method `draw_batches` composes its own."""
    if hasattr(dataset, "draw_batches"):
        return dataset.draw_batches(batch_size, seed, epoch)
    return epoch_batches(len(dataset), batch_size, seed, epoch, drop_last=True, shown=shown_of(dataset, seed, epoch))


def shown_of(dataset: Any, seed: int, epoch: int) -> np.ndarray | None:
    """Which of its examples a dataset shows in one epoch; None where it shows all."""
    return dataset.shown(seed, epoch) if hasattr(dataset, "shown") else None


def load(dataset: Any, batches: list[list[int]], num_workers: int = 0) -> DataLoader:
    """A loader of exactly these batches, each fetched whole by `dataset.__getitems__`."""
    forked = "fork" if num_workers and sys.platform == "linux" else None  # else Python 3.14 would pickle the data
    return DataLoader(
        dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=_unchanged, multiprocessing_context=forked
    )


def _unchanged(batch: Any) -> Any:
    return batch
