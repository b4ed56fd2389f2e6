import pytest
import torch

from medgraph.errors import DataError
from medgraph.sepclr.groups import grouped_batches

IS_TARGET = torch.arange(50) >= 12  # 12 background, 38 targets


def test_every_batch_holds_both_groups_and_no_example_twice():
    batches = grouped_batches(IS_TARGET, 12, 0.5, seed=3, epoch=0)
    assert len(batches) == 38 // 6
    for batch in batches:
        assert len(set(batch)) == 12
        assert int(IS_TARGET[batch].sum()) == 6
    targets = [n for batch in batches for n in batch if IS_TARGET[n]]
    assert len(set(targets)) == len(targets)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_batches_that_processes_take_at_once_share_no_example(world):
    is_target = torch.arange(100) >= 20  # a walk through the background gives 5 batches, and the targets 20
    for epoch in range(5):
        batches = grouped_batches(is_target, 8, 0.5, 1, epoch, num_processes=world)
        assert len(batches) == 20 - 20 % world
        for start in range(0, len(batches), world):
            together = [n for batch in batches[start : start + world] for n in batch]
            assert len(set(together)) == 8 * world
    assert len(grouped_batches(is_target, 8, 0.5, 1, 0, num_processes=7)) == 14  # more than the background has


def test_order_is_drawn_from_seed_and_epoch():
    first = grouped_batches(IS_TARGET, 12, 0.25, seed=3, epoch=0)
    assert first == grouped_batches(IS_TARGET, 12, 0.25, seed=3, epoch=0)
    assert first != grouped_batches(IS_TARGET, 12, 0.25, seed=3, epoch=1)
    assert first != grouped_batches(IS_TARGET, 12, 0.25, seed=4, epoch=0)
    assert all(int(IS_TARGET[batch].sum()) == 3 for batch in first)


def test_rows_of_a_batch_are_mixed():
    batches = grouped_batches(IS_TARGET, 20, 0.5, seed=0, epoch=0)
    assert any(IS_TARGET[batch[:10]].sum() not in (0, 10) for batch in batches)


@pytest.mark.parametrize(("size", "share"), [(2, 0.5), (3, 0.5), (40, 0.0), (40, 1.0), (20, 0.05)])
def test_a_batch_that_cannot_hold_both_groups_is_refused(size, share):
    with pytest.raises(DataError, match=r"expected 2 or more of each\. Raise train\.batch_size, or bring method"):
        grouped_batches(IS_TARGET, size, share, seed=0, epoch=0)


def test_a_group_smaller_than_its_part_of_a_batch_is_refused():
    with pytest.raises(DataError, match="the background group has 12 examples, but a batch of 40 takes 20 of it"):
        grouped_batches(IS_TARGET, 40, 0.5, seed=0, epoch=0)
    with pytest.raises(DataError, match="the target group has 38 examples, but a batch of 50 takes 40 of it"):
        grouped_batches(IS_TARGET, 50, 0.8, seed=0, epoch=0)
