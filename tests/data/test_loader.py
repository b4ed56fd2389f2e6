import multiprocessing
import sys

import pytest
import torch

from medgraph.data.loader import epoch_batches, load
from medgraph.errors import DataError


class Squares:
    def __init__(self):
        self.made = lambda indices: torch.tensor(indices) ** 2  # as grouped data do, which no process could be sent

    def __len__(self):
        return 10

    def __getitems__(self, indices):
        return self.made(indices)


def test_every_example_comes_once_and_the_incomplete_batch_only_when_kept():
    assert sorted(i for batch in epoch_batches(10, 4, 0, 0, drop_last=False) for i in batch) == list(range(10))
    assert [len(batch) for batch in epoch_batches(10, 4, 0, 0, drop_last=False)] == [4, 4, 2]
    assert [len(batch) for batch in epoch_batches(10, 4, 0, 0, drop_last=True)] == [4, 4]
    assert [len(batch) for batch in epoch_batches(8, 4, 0, 0, drop_last=True)] == [4, 4]


def test_order_is_fixed_by_seed_and_epoch():
    first = epoch_batches(50, 5, seed=3, epoch=1)
    assert first == epoch_batches(50, 5, seed=3, epoch=1)
    assert first != epoch_batches(50, 5, seed=3, epoch=2)
    assert first != epoch_batches(50, 5, seed=4, epoch=1)


def test_fewer_examples_than_a_batch():
    with pytest.raises(DataError, match="3 training examples, expected at least one batch of 4"):
        epoch_batches(3, 4, 0, 0, drop_last=True)
    assert sorted(epoch_batches(3, 4, 0, 0, drop_last=False)[0]) == [0, 1, 2]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_arrive_whole_and_in_order(num_workers):
    loaded = list(load(Squares(), [[1, 2], [9, 0, 3]], num_workers))
    assert [batch.tolist() for batch in loaded] == [[1, 4], [81, 0, 9]]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere data are sent to the processes")
def test_processes_that_load_see_the_data_whatever_starts_processes():
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert [batch.tolist() for batch in load(Squares(), [[1, 2]], 1)] == [[1, 4]]
    finally:
        multiprocessing.set_start_method(before, force=True)
