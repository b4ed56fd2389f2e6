from itertools import combinations

import pytest
import torch
from hetero.planted import planted_graph
from hetero.whole import matrix, planted_batches
from torch.utils.data import DataLoader

from medgraph.data.graphs import make_graph
from medgraph.errors import DataError
from medgraph.hetero.views import MetapathViews


def test_one_example_per_target_and_the_graph_behind_all():
    data = planted_batches()
    dataset = data.train()
    assert len(dataset) == 90
    assert dataset.views is data.views
    batch = dataset.__getitems__([5, 2]).to("cpu")
    assert (batch.ids.tolist(), len(batch)) == ([5, 2], 2)
    assert data.spec.context_types == {"pap": ("author",), "psp": ("subject",)}
    assert len(data.validation()) == len(data.test()) == 90
    assert data.views.to("cuda") is data.views


def test_the_stored_graphs_and_contexts_are_those_of_the_whole_views():
    data = planted_batches()
    views = MetapathViews(data.source, top_k=(20, 30)).views
    for stored, path in zip(data.views.paths, views.paths, strict=True):
        found = torch.from_numpy(matrix(stored.edges).toarray())
        torch.testing.assert_close(found, path.adjacency.dense(), rtol=1e-5, atol=1e-7)
        (name, operator), (stored_name, (factor,)) = path.context[0], stored.context[0]
        assert name == stored_name
        torch.testing.assert_close(torch.from_numpy(matrix(factor).toarray()), operator.dense())


def test_each_member_of_several_networks_has_masks_of_its_own():
    data = planted_batches(resample_masks_every=3)
    assert data.views.of_member(0) is data.views
    seen = [data.of_member(member).train().views for member in range(3)]
    assert seen[1] is data.views.of_member(1)
    assert seen[1].paths[0].edges is data.views.paths[0].edges
    rows, columns = torch.arange(90).repeat_interleave(90), torch.arange(90).repeat(90)
    rounds = [(each, each.round_of(epoch)) for each in seen for epoch in (0, 3)]
    edges = [each.masks(number)[0].stays(rows, columns) for each, number in rounds]
    entries = [each.feature_stays(number, rows, columns) for each, number in rounds]
    for drawn in (edges, entries):
        assert all(not torch.equal(first, second) for first, second in combinations(drawn, 2))
    bare = planted_batches(masked_copies=False)
    assert bare.views.of_member(2) is bare.views


def test_pre_training_sees_no_label():
    data = planted_batches()
    views = data.train().__getitems__(range(4)).sample(0, 0)
    assert not any("label" in name for name in (*vars(views), *vars(data.views)))


def hub(**arguments):
    """One group that holds all of 400 targets, so that each has 400 neighbours, and small groups."""
    ids = torch.arange(400).numpy()
    edges = {("t", "in", "hub"): [ids, 0 * ids], ("t", "in2", "group"): [ids, ids // 4]}
    graph = make_graph(
        "t", {"t": 400, "hub": 1, "group": 100}, {key: torch.tensor(value).numpy() for key, value in edges.items()}, {}
    )
    return planted_batches(graph, top_k=(400,), edge_masks=(0.2,), masked_copies=False, **arguments)


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list")
def test_hubs_are_capped():
    every = [len(path.edges.columns) for path in hub(max_hub_degree=None).views.paths]
    capped = [len(path.edges.columns) for path in hub(max_hub_degree=30).views.paths]
    assert sorted(every) == [400 * 4, 400 * 400]
    assert 400 * 30 <= max(capped) <= 400 * 31  # and the target itself
    assert min(capped) == 400 * 4


def test_masked_copies_need_a_fraction_for_each_path():
    with pytest.raises(ValueError, match="edge_masks: expected one number, or 2"):
        planted_batches(edge_masks=(0.1, 0.2, 0.3)).train()


def test_wrong_settings_are_refused():
    for wrong, message in (
        ({"fan_out": (0, 3)}, "fan_out: expected 1 or more"),
        ({"context_fan_out": 0}, "context_fan_out: expected 1 or more"),
        ({"top_k": (0,)}, "top_k: expected 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            planted_batches(planted_graph(), **wrong)


@pytest.mark.slow
def test_workers_are_refused():
    loader = DataLoader(planted_batches().train(), batch_sampler=[[0, 1]], num_workers=1, collate_fn=lambda x: x)
    with pytest.raises(DataError, match=r"train\.num_workers: expected 0"):
        next(iter(loader))
