"""Queue: first in, first out, for every batch size; empty at first; survives a checkpoint."""

import pytest
import torch

from medgraph.clustering.queue import Queue


def _numbers(first, last):
    return torch.arange(first, last, dtype=torch.float32).unsqueeze(1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 6, 7, 13])
def test_holds_the_newest_vectors_newest_first(batch_size):
    queue, pushed = Queue(size=5, dim=1), []
    for start in range(0, 40, batch_size):
        queue.push(_numbers(start, start + batch_size), torch.arange(start, start + batch_size))
        pushed += range(start, start + batch_size)
        newest = pushed[::-1][:5]
        assert queue.vectors().flatten().tolist() == newest
        assert queue.ids().tolist() == newest
        assert len(queue) == len(newest)
        assert queue.full == (len(newest) == 5)


def test_starts_empty_and_not_full():
    queue = Queue(size=4, dim=3)
    assert queue.vectors().shape == (0, 3)
    assert not queue.full


def test_ages_count_pushes():
    queue = Queue(size=4, dim=1)
    for start, end in [(0, 2), (2, 3), (3, 5)]:
        queue.push(_numbers(start, end))
    assert queue.ages().tolist() == [0, 0, 1, 2]
    assert queue.ids().tolist() == [-1] * 4


def test_checkpoint_goes_on_at_the_same_place():
    queue, other = Queue(size=4, dim=1), Queue(size=4, dim=1)
    queue.push(_numbers(0, 7))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.push(_numbers(7, 10))
    assert other.full
    torch.testing.assert_close(other.vectors(), queue.vectors(), rtol=0, atol=0)


def test_pushed_vectors_are_copies_without_gradient():
    vectors = torch.ones(2, 3, requires_grad=True)
    queue = Queue(size=4, dim=3)
    queue.push(vectors)
    with torch.no_grad():
        vectors.zero_()
    assert not queue.vectors().requires_grad
    assert queue.vectors().tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stores_half_precision_on_request(dtype):
    queue = Queue(size=2, dim=1, dtype=dtype)
    queue.push(torch.tensor([[0.5], [0.25]]))
    assert queue.vectors().dtype == getattr(torch, dtype)
    assert queue.vectors().flatten().tolist() == [0.25, 0.5]


def test_an_empty_push_changes_no_vector():
    queue = Queue(size=2, dim=1)
    queue.push(_numbers(0, 1))
    queue.push(torch.empty(0, 1))
    assert queue.vectors().tolist() == [[0.0]]


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="push: expected vectors of width 3, got 2"):
        Queue(size=2, dim=3).push(torch.ones(1, 2))
    with pytest.raises(ValueError, match="size: expected 1 or more, got 0"):
        Queue(size=0, dim=3)
    with pytest.raises(ValueError, match="dtype: expected one of 'float32', 'float16', 'bfloat16', got 'int8'"):
        Queue(size=2, dim=3, dtype="int8")
