import torch
from torch.nn import functional as F

from medgraph.clustering.queue import Queue
from medgraph.hetero.queued_keys import contrast
from medgraph.losses.info_nce import InfoNCE


def without_own(queries, keys, ids=None):
    """mean over queries of the log-sum over all keys but the own, minus the own score."""
    scores = queries @ keys.T / 0.5
    others = scores.masked_fill(torch.eye(*scores.shape, dtype=torch.bool), -torch.inf)
    return (others.logsumexp(1) - scores.diagonal()).mean()


def rows(count, rng):
    return F.normalize(torch.randn(count, 5, generator=rng, dtype=torch.float64), dim=1).requires_grad_()


def test_without_a_queue_it_is_the_loss(rng):
    queries, keys = rows(6, rng), rows(6, rng)
    for queue in (None, Queue(8, 5)):
        assert torch.equal(
            contrast(without_own, queries, keys, torch.arange(6), queue, 0.5), without_own(queries, keys)
        )


def test_the_push_on_keys_grows_and_nothing_else(rng):
    queries, keys, queue = rows(6, rng), rows(6, rng), Queue(20, 5)
    old = rows(14, rng).detach().float()
    queue.push(old - old.mean(0))
    held = queue.vectors().double()
    moved = F.normalize(held + keys.detach().mean(0) - held.mean(0), dim=1)
    found = contrast(without_own, queries, keys, torch.arange(6), queue, 0.5)
    expected = without_own(queries, torch.cat([keys, moved]))
    torch.testing.assert_close(found, expected)
    of_queries, of_keys = torch.autograd.grad(found, (queries, keys))
    plain_of_queries, plain_of_keys = torch.autograd.grad(expected, (queries, keys))
    torch.testing.assert_close(of_queries, plain_of_queries)
    pull = -queries.detach() / 0.5 / 6  # of each key by its own query
    torch.testing.assert_close(of_keys - pull, (plain_of_keys - pull) * 19 / 5)


def test_old_keys_that_only_lag_behind_push_nobody_on(rng):
    spread = 0.01 * torch.randn(6, 5, generator=rng, dtype=torch.float64)
    keys = F.normalize(torch.tensor([1.0, 0, 0, 0, 0]).double() + spread, dim=1)
    queue = Queue(6, 5)
    queue.push(F.normalize(torch.tensor([0.8, 0.6, 0, 0, 0]).double() + spread, dim=1))
    queries = keys.clone().requires_grad_()
    (push,) = torch.autograd.grad(
        contrast(lambda q, k, _: InfoNCE(0.5)(q, k), queries, keys, torch.arange(6), queue, 0.5), queries
    )
    stale = torch.cat([keys, queue.vectors().double()])
    (plain,) = torch.autograd.grad(InfoNCE(0.5)(queries, stale), queries)
    assert push.sum(0).norm() < 0.05 * plain.sum(0).norm()


def test_old_keys_of_the_nodes_of_the_batch_are_left_out(rng):
    queries, keys, queue, ids = rows(6, rng), rows(6, rng), Queue(20, 5), torch.arange(6)
    queue.push(rows(6, rng).detach().float(), ids=ids)
    assert torch.equal(contrast(without_own, queries, keys, ids, queue, 0.5), without_own(queries, keys))
    queue.push(rows(4, rng).detach().float(), ids=torch.tensor([9, 2, 8, 4]))
    seen = []
    contrast(lambda q, k, of: seen.append((k, of)) or without_own(q, k), queries, keys, ids, queue, 0.5)
    ((every, of),) = seen
    assert of.tolist() == [0, 1, 2, 3, 4, 5, 8, 9]  # the newest of the queue come first
    assert len(every) == 8
