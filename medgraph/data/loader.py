"""Seeded loaders: which examples form which batch, and how a batch is fetched."""

from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from medgraph.errors import DataError


def epoch_batches(num_examples: int, batch_size: int, seed: int, epoch: int, drop_last: bool = True) -> list[list[int]]:
    """Indices of each batch of one epoch, in an order drawn from (seed, epoch).

    Raises:
        DataError: The last, incomplete batch is dropped and no other is left.
    """
    if drop_last and num_examples < batch_size:
        raise DataError(
            f"{num_examples} training examples, expected at least one batch of {batch_size}. "
            "Give more data, or lower batch_size."
        )
    order = np.random.default_rng([seed, epoch]).permutation(num_examples).tolist()
    batches = [order[i : i + batch_size] for i in range(0, num_examples, batch_size)]
    return batches[:-1] if drop_last and len(batches[-1]) < batch_size else batches


def draw_batches(dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each whole batch of one epoch. A dataset with a method `draw_batches` composes its own."""
    if hasattr(dataset, "draw_batches"):
        return dataset.draw_batches(batch_size, seed, epoch)
    return epoch_batches(len(dataset), batch_size, seed, epoch, drop_last=True)


def load(dataset: Any, batches: list[list[int]], num_workers: int = 0) -> DataLoader:
    """A loader of exactly these batches, each fetched whole by `dataset.__getitems__`."""
    return DataLoader(dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:
    return batch
