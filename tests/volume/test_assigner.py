import math

import pytest
import torch
from spawned import run_in_processes
from torch.nn import functional as F

from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.volume.assigner import DeepCluster, SwAV

LOSS = PrototypeCrossEntropy(temperature=0.1)
NONE = torch.zeros(16, dtype=torch.long)
IDS = torch.arange(16)


def unit(rng, count=16, dim=8, dtype=torch.float32):
    return F.normalize(torch.randn(count, dim, generator=rng, dtype=dtype), dim=1)


def clustered(rng, num_examples=40, **arguments):
    """A DeepCluster assigner that saw the first 16 examples."""
    assigner = DeepCluster(**{"num_prototypes": 4, "num_heads": 3, **arguments}).make(8, num_examples)
    assigner.fill([(IDS[:10], [unit(rng, 10), unit(rng, 10)]), (IDS[10:], [unit(rng, 6), unit(rng, 6)])])
    assigner.start_epoch(Step(1, 0, 0))
    return assigner


def test_swav_is_the_mean_over_assignment_views_and_all_others(rng):
    assigner = SwAV(num_prototypes=5, queue_size=0).make(8, 16)
    views = [unit(rng) for _ in range(3)]
    loss, metrics = assigner(views, IDS, NONE, LOSS, Step(0, 0, 0))
    scores = [z @ assigner.prototypes.weight.T for z in views]
    expected = []
    for a in range(2):
        q = torch.exp((scores[a] - scores[a].max()) / 0.05).T.double()  # (k, b), as written in the paper
        for _ in range(3):
            q = q / q.sum(dim=1, keepdim=True) / len(q)
            q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
        codes = (q * q.shape[1]).T
        expected += [-(codes * (scores[v] / 0.1).log_softmax(dim=1)).sum(dim=1).mean() for v in range(3) if v != a]
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)
    assert 0 < metrics["code_entropy"] < math.log(5)


def test_equal_embeddings_cost_at_least_ln_k(rng):
    assigner = SwAV(num_prototypes=8, queue_size=0).make(8, 16)
    constant = unit(rng, 1).expand(16, 8)
    loss, metrics = assigner([constant, constant], IDS, NONE, LOSS, Step(0, 0, 0))
    assert loss >= math.log(8) - 1e-4
    assert metrics["code_entropy"].item() == pytest.approx(math.log(8), abs=1e-4)
    assigner.prototypes.weight.data[:] = assigner.prototypes.weight.data[:1]  # all scores are equal
    loss, _ = assigner([constant, constant], IDS, NONE, LOSS, Step(0, 0, 1))
    assert loss.item() == pytest.approx(math.log(8), abs=1e-4)


def test_frozen_prototypes_do_not_move(rng):
    assigner = SwAV(num_prototypes=4, queue_size=0, num_frozen_steps=1).make(8, 16)
    views = [unit(rng).requires_grad_() for _ in range(2)]
    assigner(views, IDS, NONE, LOSS, Step(0, 0, 0))[0].backward()
    assert assigner.prototypes.weight.grad is None
    assigner(views, IDS, NONE, LOSS, Step(0, 0, 1))[0].backward()
    assert assigner.prototypes.weight.grad.abs().sum() > 0


def test_no_optimizer_step_moves_frozen_prototypes(rng):
    """Neither the gradient, nor weight decay, nor scaling to unit length: the same to the last bit (10.4)."""
    assigner = SwAV(num_prototypes=4, queue_size=0, num_frozen_steps=2).make(8, 16)
    optimizer = torch.optim.AdamW(assigner.parameters(), lr=0.1, weight_decay=0.1)
    seen = []
    for number in range(3):
        optimizer.zero_grad()
        views = [unit(rng).requires_grad_() for _ in range(2)]
        assigner(views, IDS, NONE, LOSS, Step(0, 0, number))[0].backward()
        optimizer.step()
        seen.append(assigner.prototypes.weight.detach().clone())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_the_queue_fills_and_then_takes_part(rng):
    assigner = SwAV(num_prototypes=4, queue_size=32, queue_from_epoch=1).make(8, 16)
    for number in range(3):
        assigner([unit(rng), unit(rng)], IDS, NONE, LOSS, Step(0, 0, number))
    assert assigner.queues[0].full
    again, alone = (SwAV(4, queue_size=size, queue_from_epoch=1).make(8, 16) for size in (32, 0))
    again.load_state_dict(assigner.state_dict())
    alone.prototypes.load_state_dict(assigner.prototypes.state_dict())
    views = [unit(rng), unit(rng)]
    plain = alone(views, IDS, NONE, LOSS, Step(0, 0, 3))[0]
    assert torch.equal(assigner(views, IDS, NONE, LOSS, Step(0, 0, 3))[0], plain)  # full, but before its epoch
    expected, prototypes = [], again.prototypes.weight.detach()
    for a in range(2):
        rows = torch.cat([views[a], again.queues[a].vectors()]) @ prototypes.T
        codes = sinkhorn(rows, 0.05, 3)[:16]
        expected.append(-(codes * (views[1 - a] @ prototypes.T / 0.1).log_softmax(dim=1)).sum(dim=1).mean())
    found = again(views, IDS, NONE, LOSS, Step(0, 1, 3))[0]
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-5, atol=1e-5)
    assert abs(found.item() - plain.item()) > 1e-3
    assigner(views, IDS, NONE, LOSS, Step(0, 1, 4))
    assert assigner.left_unused() == []


@pytest.mark.parametrize(("size", "start", "held"), [(33, 0, 32), (16, 2, 16)])
def test_a_queue_that_never_took_part_is_told(rng, size, start, held):
    assigner = SwAV(num_prototypes=4, queue_size=size, queue_from_epoch=start).make(8, 16)
    assert assigner.left_unused() == []  # nothing was trained
    for number in range(2):
        assigner([unit(rng), unit(rng)], IDS, NONE, LOSS, Step(0, number, number))
    (line,) = assigner.left_unused()
    assert line.startswith(f"the queue of {size} embeddings never took part: at the end it holds {held}, ")
    assert f"from epoch {start} on" in line


def test_deepcluster_is_the_mean_over_heads_views_and_examples(rng):
    assigner = clustered(rng)
    views = [unit(rng) for _ in range(3)]
    labels = assigner.labels[:, IDS].clone()
    loss, _ = assigner(views, IDS, NONE, LOSS, Step(1, 0, 0))
    expected = [F.cross_entropy(z @ assigner.centroids[head].T / 0.1, labels[head]) for head in range(3) for z in views]
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_heads_cluster_the_banks_in_turn(rng):
    assigner = clustered(rng)
    for head in range(3):
        vectors = assigner.banks[head % 2].vectors(IDS)
        assert torch.equal(assigner.labels[head, IDS], (vectors @ assigner.centroids[head].T).argmax(dim=1))
    assert not torch.equal(assigner.labels[0], assigner.labels[2])  # same bank, another start


def test_no_gradient_moves_the_centroids_and_labels_carry_none(rng):
    assigner = clustered(rng)
    before = assigner.centroids.clone()
    view = unit(rng).requires_grad_()
    loss, _ = assigner([view, view], IDS, NONE, LOSS, Step(1, 0, 0))
    loss.backward()
    assert view.grad.abs().sum() > 0
    assert list(assigner.parameters()) == []
    assert torch.equal(assigner.centroids, before)


def test_each_bank_row_is_the_last_embedding_of_its_id(rng):
    assigner = clustered(rng)
    ids = torch.tensor([7, 3])
    first, second = unit(rng, 2), unit(rng, 2)
    untouched = assigner.banks[0].vectors(torch.tensor([4])).clone()
    assigner([first, second, unit(rng, 2)], ids, NONE[:2], LOSS, Step(1, 0, 0))
    assert torch.equal(assigner.banks[0].vectors(ids), first)
    assert torch.equal(assigner.banks[1].vectors(ids), second)
    assert torch.equal(assigner.banks[0].vectors(torch.tensor([4])), untouched)


def test_examples_never_seen_add_nothing(rng):
    assigner = clustered(rng)
    assert (assigner.labels[:, 16:] == -100).all()
    known, unseen = unit(rng, 3), unit(rng, 2)
    alone, _ = assigner([known, known], IDS[:3], NONE[:3], LOSS, Step(1, 0, 1))
    both = torch.cat([known, unseen])
    joined, _ = assigner([both, both], torch.tensor([0, 1, 2, 30, 31]), NONE[:5], LOSS, Step(1, 0, 2))
    torch.testing.assert_close(alone, joined)


def test_it_wants_filling_once(rng):
    assert DeepCluster().make(8, 40).wants_filling
    assert not clustered(rng).wants_filling
    assert not SwAV().make(8, 40).wants_filling


def test_the_same_seed_and_epoch_give_the_same_clusters(rng):
    assigner = clustered(rng)
    before = assigner.labels.clone()
    assigner.start_epoch(Step(1, 0, 5))
    assert torch.equal(assigner.labels, before)
    assigner.start_epoch(Step(1, 1, 5))
    assert not torch.equal(assigner.labels, before)


@pytest.mark.parametrize("settings", [SwAV(num_prototypes=4, queue_size=16, queue_from_epoch=0), DeepCluster(4)])
def test_state_survives_saving(settings, rng):
    first, again = settings.make(8, 16), settings.make(8, 16)
    if first.wants_filling:
        first.fill([(IDS, [unit(rng), unit(rng)])])
    first.start_epoch(Step(0, 0, 0))
    first([unit(rng), unit(rng)], IDS, NONE, LOSS, Step(0, 0, 0))
    again.load_state_dict(first.state_dict())
    views = [unit(rng), unit(rng)]
    losses = [a(views, IDS, NONE, LOSS, Step(0, 0, 1))[0].item() for a in (first, again)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SwAV(num_prototypes=1), "num_prototypes: expected 2 or more, got 1"),
        (lambda: SwAV(epsilon=0), "epsilon: expected a number above 0"),
        (lambda: SwAV(queue_size=-1), "queue_size: expected 0 or more"),
        (lambda: DeepCluster(num_heads=0), "num_heads: expected 1 or more, got 0"),
        (lambda: DeepCluster(empty="drop"), "empty: expected one of 'keep', 'split', got 'drop'"),
        (lambda: DeepCluster(fill_mode="x"), "fill_mode: expected one of 'eval', 'train', got 'x'"),
        (lambda: DeepCluster(num_prototypes=1), "num_prototypes: expected 2 or more, got 1"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_give_the_codes_and_gradients_of_one(world, tmp_path):
    run_in_processes("reference.assigner_checks", "check_every_assigner", world, tmp_path)


def test_sources_are_compared_with_the_clusters_of_one_clustering(rng):
    """Numbers of clusters mean something else after each clustering."""
    sources, unseen = IDS % 2, torch.arange(8)
    start = F.one_hot(sources, 8).float()
    assigner = DeepCluster(num_prototypes=2, num_heads=1).make(8, 16)
    assigner.fill([(IDS, [start, start])])
    for epoch in range(6):  # each shows half of the examples
        assigner.start_epoch(Step(epoch, epoch, 0))
        ids = unseen if epoch % 2 else unseen + 8
        if epoch == 0:
            assigner([start, start], IDS, sources, LOSS, Step(0, 0, 0))
        _, metrics = assigner([start[ids], start[ids]], ids, sources[ids], LOSS, Step(0, epoch, 10))
        assert metrics["source_nmi"].item() == pytest.approx(1)
