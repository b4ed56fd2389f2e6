"""Queue: first in, first out, for every batch size; empty at first; survives a checkpoint; equal in all processes."""

import pytest
import torch
from spawned import run_in_processes

from medgraph.clustering.queue import CodeQueues, Queue


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
    assert len(queue) == 0
    assert not queue.full
    for ask in (queue.vectors, queue.ids, queue.labels, queue.codes, queue.ages, queue.log_weights):
        with pytest.raises(ValueError, match="queue: holds nothing yet; push a batch before asking for vectors"):
            ask()


def test_ages_count_pushes():
    queue = Queue(size=4, dim=1)
    for start, end in [(0, 2), (2, 3), (3, 5)]:
        queue.push(_numbers(start, end))
    assert queue.ages().tolist() == [0, 0, 1, 2]
    for numbers in (queue.ids(), queue.labels(), queue.codes()):
        assert numbers.tolist() == [-1] * 4


def test_weights_fall_with_age():
    queue = Queue(size=4, dim=1, age_decay=0.5)
    for start, end in [(0, 2), (2, 3)]:
        queue.push(_numbers(start, end))
    assert queue.log_weights().tolist() == [0.0, -0.5, -0.5]


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_labels_and_codes_go_with_their_vectors(batch_size):
    queue = Queue(size=5, dim=1)
    for start in range(0, 21, batch_size):
        numbers = torch.arange(start, start + batch_size)
        queue.push(_numbers(start, start + batch_size), numbers, 2 * numbers, 3 * numbers)
    held = queue.vectors().flatten().long()
    assert queue.labels().tolist() == (2 * held).tolist()
    assert queue.codes().tolist() == (3 * held).tolist()


def test_a_rare_code_is_not_pushed_out():
    queues = CodeQueues(num_codes=3, size=2, dim=1, age_decay=1.0)
    queues.push(_numbers(0, 3), torch.tensor([2, 0, 0]), ids=torch.tensor([10, 11, 12]), labels=torch.tensor([5, 6, 7]))
    queues.push(_numbers(3, 6), torch.tensor([0, 0, 0]), ids=torch.tensor([13, 14, 15]))
    assert queues.vectors().flatten().tolist() == [5, 4, 0]
    assert queues.codes().tolist() == [0, 0, 2]
    assert queues.ids().tolist() == [15, 14, 10]
    assert queues.labels().tolist() == [-1, -1, 5]
    assert queues.log_weights().tolist() == [0, 0, -1]
    assert len(queues) == 3


def test_queues_of_codes_go_on_from_a_checkpoint():
    queues, other = (CodeQueues(num_codes=2, size=2, dim=1) for _ in range(2))
    queues.push(_numbers(0, 3), torch.tensor([0, 1, 0]))
    other.load_state_dict(queues.state_dict())
    for each in (queues, other):
        each.push(_numbers(3, 4), torch.tensor([0]))
    assert other.vectors().flatten().tolist() == queues.vectors().flatten().tolist() == [3, 2, 1]


def test_queues_of_codes_refuse_wrong_arguments():
    queues = CodeQueues(num_codes=2, size=2, dim=1)
    with pytest.raises(ValueError, match="queues: hold nothing yet; push a batch before asking for vectors"):
        queues.vectors()
    with pytest.raises(ValueError, match="codes: expected 0 to 1, got 0 to 2"):
        queues.push(_numbers(0, 2), torch.tensor([0, 2]))


@pytest.mark.slow
def test_queues_and_banks_of_all_processes_are_equal(tmp_path):
    run_in_processes("reference.clustering_checks", "check_queues_and_banks", 3, tmp_path)


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
    with pytest.raises(ValueError, match=r"push: expected vectors of shape \(n, 3\), got \(1, 2\)"):
        Queue(size=2, dim=3).push(torch.ones(1, 2))
    with pytest.raises(ValueError, match="size: expected 1 or more, got 0"):
        Queue(size=0, dim=3)
    with pytest.raises(ValueError, match="dtype: expected one of 'float32', 'float16', 'bfloat16', got 'int8'"):
        Queue(size=2, dim=3, dtype="int8")


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("name", ["ids", "labels", "codes"])
def test_numbers_of_the_wrong_length_are_refused_and_nothing_is_stored(name):
    queue, queues = Queue(size=4, dim=1), CodeQueues(num_codes=1, size=4, dim=1)
    given = {"codes": torch.zeros(3, dtype=torch.long), name: torch.zeros(1, dtype=torch.long)}
    for part, numbers in ((queue, {name: given[name]}), (queues, given)):
        with pytest.raises(ValueError, match=f"expected the same length, got vectors: 3,.* {name}: 1"):
            part.push(_numbers(0, 3), **numbers)
        assert len(part) == 0


@pytest.mark.usefixtures("shapes_unchecked")
def test_a_single_vector_is_refused_by_its_shape():
    with pytest.raises(ValueError, match=r"push: expected vectors of shape \(n, 3\), got \(3,\)"):
        Queue(size=2, dim=3).push(torch.ones(3))
