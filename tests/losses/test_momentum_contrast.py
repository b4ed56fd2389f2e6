"""MomentumContrast: equal to a loop; own, empty and foreign entries never contribute; trains with queue and encoder."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, cosines, log_sum, mean
from torch import nn

from medgraph.clustering.queue import CodeQueues, Queue
from medgraph.losses.momentum_contrast import MomentumContrast
from medgraph.nn.momentum import MomentumEncoder


def _loop(queries, keys, queue, temperature, allowed, log_weights):
    x, own = cosines(queries, queue, temperature), cosines(queries, keys, temperature)
    losses = []
    for i in range(len(queries)):
        logits = [x[i][j] + log_weights[j] for j in range(len(queue)) if allowed(i, j)]
        losses.append(log_sum([own[i][i], *logits]) - own[i][i])
    return mean(losses)


def _inputs(rng, m=8):
    return (torch.randn(n, 3, generator=rng, dtype=torch.float64) for n in (5, 5, m))


def test_equals_loop(any_tile, rng):
    queries, keys, queue = _inputs(rng)
    loss = MomentumContrast(0.3)
    assert_equal_with_gradients(
        lambda q: loss(q, keys, queue), lambda q: _loop(q, keys, queue, 0.3, lambda i, j: True, [0] * 8), queries
    )


def test_ids_codes_and_weights_equal_loop(any_tile, rng):
    queries, keys, queue = _inputs(rng)
    ids, queue_ids = torch.arange(5), torch.tensor([0, 7, -1, 3, 3, 9, 1, -1])
    codes, queue_codes = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0, 1, 0, 1, 0, 0, 1, 1])
    log_weights = torch.randn(8, generator=rng, dtype=torch.float64)

    def allowed(i, j):
        return queue_ids[j] not in (-1, ids[i]) and codes[i] == queue_codes[j]

    loss = MomentumContrast(0.3)
    assert_equal_with_gradients(
        lambda q: loss(q, keys, queue, ids, queue_ids, log_weights, codes, queue_codes),
        lambda q: _loop(q, keys, queue, 0.3, allowed, log_weights),
        queries,
    )


def test_an_empty_slot_never_contributes(rng):
    queries, keys, queue = _inputs(rng)
    queue_ids = torch.tensor([7, 7, 8, 9, -1, -1, -1, -1])
    loss, ids = MomentumContrast(), torch.arange(5)
    expected = loss(queries, keys, queue[:4])
    torch.testing.assert_close(loss(queries, keys, queue, ids, queue_ids), expected)
    queue[4:] = queries[:4]  # the hardest negatives there can be
    torch.testing.assert_close(loss(queries, keys, queue, ids, queue_ids), expected)


def test_keys_and_queue_get_no_gradient(rng):
    queries, keys, queue = (x.requires_grad_() for x in _inputs(rng))
    MomentumContrast()(queries, keys, queue).backward()
    assert queries.grad.abs().sum() > 0
    assert keys.grad is None
    assert queue.grad is None


def test_training_with_a_momentum_encoder_and_queues_lowers_the_loss(rng):
    torch.manual_seed(0)
    encoder = nn.Linear(6, 4)
    slow, queues, loss = MomentumEncoder(encoder, 0.9), CodeQueues(2, 20, 4, age_decay=0.1), MomentumContrast(0.2)
    x, ids = torch.randn(16, 6, generator=rng), torch.arange(16)
    codes, optimizer = ids % 2, torch.optim.SGD(encoder.parameters(), lr=0.3)
    values = []
    queues.push(slow(x), codes, ids)
    for _ in range(40):
        noisy = x + 0.1 * torch.randn(16, 6, generator=rng)
        value = loss(
            encoder(noisy), slow(x), queues.vectors(), ids, queues.ids(), queues.log_weights(), codes, queues.codes()
        )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        slow.update(encoder)
        queues.push(slow(x), codes, ids)
        values.append(value.item())
    assert sum(values[-5:]) < 0.8 * sum(values[:5])


def test_half_precision_queue_stays_finite(rng):
    queries, keys, vectors = (x.float() for x in _inputs(rng))
    queue = Queue(8, 3, dtype="bfloat16")
    queue.push(100 * vectors)
    x = queries.requires_grad_()
    loss = MomentumContrast(0.005)(x, keys, queue.vectors())
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_no_negative_gives_zero_with_a_graph():
    x = torch.eye(2).requires_grad_()
    ids = torch.zeros(2, dtype=torch.long)
    with pytest.warns(UserWarning, match="all 2 anchors have no negative"):
        loss = MomentumContrast()(x, torch.eye(2), torch.ones(1, 2), ids, ids[:1])
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_one_side_only():
    with pytest.raises(ValueError, match="ids: expected those of the queries and of the queue together"):
        MomentumContrast()(torch.eye(2), torch.eye(2), torch.eye(2), ids=torch.arange(2))
    with pytest.raises(ValueError, match="codes: expected those of the queries and of the queue together"):
        MomentumContrast()(torch.eye(2), torch.eye(2), torch.eye(2), queue_codes=torch.arange(2))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_refuses_weights_that_are_none(wrong):
    with pytest.raises(ValueError, match="expected log-weights that are numbers or -inf"):
        MomentumContrast()(torch.eye(2), torch.eye(2), torch.eye(2), log_weights=torch.tensor([wrong, 0.0]))
