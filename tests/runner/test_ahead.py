import os
import threading

import pytest
import torch

from medgraph.runner.ahead import ahead, has_free_core


def test_batches_come_prepared_and_in_order():
    assert list(ahead("abc", lambda batch, index: (batch, index))) == [("a", 0), ("b", 1), ("c", 2)]
    assert list(ahead([], lambda batch, index: batch)) == []


def test_the_next_batch_is_prepared_while_one_is_worked_on():
    ready = [threading.Event() for _ in range(3)]
    prepared = ahead(range(3), lambda batch, index: ready[index].set())
    next(prepared)
    assert ready[1].wait(timeout=60)
    assert not ready[2].is_set()  # one batch ahead, not more
    prepared.close()


def test_it_runs_in_a_thread_of_one_core_and_leaves_ours_as_they_are():
    torch.set_num_threads(2)
    seen = list(ahead("ab", lambda batch, index: (threading.get_ident(), torch.get_num_threads())))
    assert {cores for _, cores in seen} == {1}
    assert threading.get_ident() not in {ident for ident, _ in seen}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("threads", "free"), [(1, True), (3, True), (4, False)])
def test_a_core_is_free_when_torch_takes_fewer_than_there_are(monkeypatch, threads, free):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert has_free_core() is free


def test_an_error_comes_where_its_batch_would_have_come():
    def prepare(batch, index):
        if index == 1:
            raise ValueError("no views of this")
        return batch

    prepared = ahead("ab", prepare)
    assert next(prepared) == "a"
    with pytest.raises(ValueError, match="no views of this"):
        next(prepared)


def test_no_thread_is_left_when_the_rest_is_not_wanted():
    before = threading.active_count()
    prepared = ahead(range(5), lambda batch, index: batch)
    next(prepared)
    assert threading.active_count() == before + 1
    prepared.close()
    assert threading.active_count() == before
