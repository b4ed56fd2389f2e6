import numpy as np
import torch
from hetero.planted import planted_graph
from hetero.whole import matrix, planted_batches

from medgraph.data.graphs import make_graph
from medgraph.hetero.operators import Chain


def test_fan_outs_bound_what_a_batch_touches():
    data = planted_batches(fan_out=(5, 3), context_fan_out=2)
    views = data.train().__getitems__(range(10)).sample(0, 0)
    assert torch.equal(views.ids, torch.arange(10))
    for path in views.paths:
        assert path.last.shape[0] == 10
        assert path.last.num_entries <= 50
        assert path.first.num_entries <= 3 * path.last.shape[1]
        assert path.first.shape[0] == path.last.shape[1]
        assert path.first.shape[1] == len(path.inputs)
        name, operator = path.context[0]
        assert operator.num_entries <= 2 * len(path.inputs)
        assert operator.shape == (len(path.inputs), views.features[name].rows.numel())
        assert [operator.shape for operator in path.masked] == [path.first.shape, path.last.shape]
    assert views.coarse.last.num_entries <= 10 * 2 * 3  # five, shared by two paths, rounded up
    assert views.masked_features.shape == views.features["paper"].shape


def test_samples_hang_on_seed_epoch_and_node_alone():
    data = planted_batches(fan_out=(5, 3), context_fan_out=2)

    def last(ids, seed, epoch):
        return data.train().__getitems__(ids).sample(seed, epoch).paths[0].last.dense().sum(1)

    every = last(range(90), 0, 2)
    assert torch.equal(last([50, 7, 3], 0, 2), every[[50, 7, 3]])
    for seed, epoch in ((1, 2), (0, 3)):
        assert (last(range(90), seed, epoch) != every).sum() > 40


def test_sums_over_samples_are_right_on_average():
    graph = planted_graph()
    del graph.data["paper"].x  # one-hot: a sample then names its nodes
    data = planted_batches(graph, fan_out=(4, 3), context_fan_out=2, masked_copies=False)
    stored, ids, rounds = data.views, torch.arange(90), 60
    nodes, authors = torch.arange(90.0)[:, None].sqrt(), torch.arange(60.0)[:, None]  # what is summed
    whole = [torch.from_numpy(matrix(path.edges).toarray()) for path in stored.paths]
    members = torch.from_numpy(matrix(stored.paths[0].context[0][1][0]).toarray())  # papers x authors
    expected = [(a @ a @ nodes)[ids] for a in (*whole, sum(whole) / 2)]
    expected.append((whole[0] @ whole[0] @ members @ authors)[ids])
    found = [torch.zeros(90, 1) for _ in expected]
    for epoch in range(rounds):
        views = data.train().__getitems__(ids).sample(5, epoch)
        for total, path in zip(found, (*views.paths, views.coarse), strict=False):
            total += path.last(path.first(nodes[views.features["paper"].rows][path.inputs])) / rounds
        path = views.paths[0]
        name, operator = path.context[0]
        found[-1] += path.last(path.first(operator(authors[views.features[name].rows]))) / rounds
    for got, right in zip(found, expected, strict=True):
        torch.testing.assert_close(got.sum(), right.sum(), rtol=0.02, atol=0.0)
        torch.testing.assert_close(got[::30].sum(), right[::30].sum(), rtol=0.1, atol=0.0)


def long_paths():
    """Papers of authors of conferences: a path of four steps, in which both ways of context differ."""
    rng = np.random.default_rng(0)
    write = np.stack([np.arange(120) % 40, rng.integers(0, 25, 120)])
    appear = np.stack([np.arange(50) % 25, rng.integers(0, 6, 50)])
    return make_graph(
        "paper",
        {"paper": 40, "author": 25, "conference": 6},
        {("paper", "by", "author"): write, ("author", "at", "conference"): appear},
        {"conference": rng.random((6, 5)).astype(np.float32)},
        metapaths=["paca" + "p"],
    )


def test_context_beyond_the_middle_is_sampled_in_two_steps():
    data = planted_batches(long_paths(), top_k=(40,), context="factored", fan_out=(40, 40), context_fan_out=4)
    path = data.train().__getitems__(range(40)).sample(0, 0).paths[0]
    kinds = [type(operator) for _, operator in path.context]
    assert [name for name, _ in path.context] == ["author", "conference", "author"]
    assert kinds[2] is Chain
    last = path.context[2][1].dense()
    assert ((last > 0).sum(1) <= 4).all()
    assert (last > 0).any(1).all()


def test_types_without_features_are_looked_up_and_masked_as_a_whole():
    graph = planted_graph()
    del graph.data["paper"].x
    data = planted_batches(graph, feature_mask=0.4)
    views = data.train().__getitems__(range(90)).sample(0, 0)
    weight = torch.randn(90, 3)
    assert torch.equal(views.features["paper"](weight), weight)
    masked = views.masked_features(weight)
    gone = (masked == 0).all(1)
    assert torch.equal(masked[~gone], weight[~gone])
    assert 20 <= gone.sum() <= 52
