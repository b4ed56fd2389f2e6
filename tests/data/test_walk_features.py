import numpy as np
import pytest
import torch

from medgraph.data.graphs import make_graph
from medgraph.data.synthetic_graph import PlantedGraph
from medgraph.data.walk_features import WalkFeatures
from medgraph.errors import ConfigError

PLANTED = PlantedGraph(num_targets=80, num_classes=2, nodes_per_type=12, labelled=5, agreement=0.95)
TINY = {"dim": 8, "walk_length": 6, "walks_per_node": 2, "context_size": 3, "epochs": 1}


class Given(PlantedGraph):
    """A graph that is there already."""

    def __init__(self, graph):
        self.given = graph

    def read(self):
        return self.given


def without_features():
    """Two halves that no edge joins, and a paper and an author on their own; nobody has features."""
    papers = np.repeat(np.arange(20), 3)
    authors = (papers // 10) * 5 + np.tile(np.arange(3), 20) + papers % 3
    edges = {
        ("paper", "to", "author"): np.stack([papers, authors]),
        ("paper", "cites", "year"): np.stack([np.arange(21), np.arange(21) % 3]),
    }
    counts = {"paper": 21, "author": 11, "year": 3}
    with pytest.warns(UserWarning, match="no instance of any meta-path"):
        return Given(make_graph("paper", counts, edges, {}, metapaths=["pap"]))


def test_types_without_features_get_those_of_the_paths_that_pass_them():
    source = WalkFeatures(PLANTED, **TINY)
    assert [path.name for path in source.plan["group_1"]] == ["target-group_1-target"]
    spec = source.spec
    assert spec.feature_dims == {"target": 60, "group_0": 8, "group_1": 8}
    assert "graph" not in vars(source)  # nothing was trained to know the widths
    graph = source.graph
    assert graph.spec == spec
    assert graph.data["group_0"].x.shape == (12, 8)
    assert graph.data["target"].x is PLANTED.graph.data["target"].x
    assert "x" not in PLANTED.graph.data["group_0"]
    torch.testing.assert_close(graph.data["group_0"].x.abs().sum(1), torch.ones(12))


def test_vectors_of_several_paths_lie_side_by_side():
    source = without_features()
    alone = [WalkFeatures(source, {"paper": [path]}, **TINY, normalize=False) for path in ("pap", "pyp")]
    both = WalkFeatures(source, {"paper": ["pap", "pyp"], "author": ["apa"]}, **TINY, normalize=False)
    assert both.spec.feature_dims == {"paper": 16, "author": 8, "year": 0}
    x = both.graph.data["paper"].x
    for part, single in zip(x.split(8, dim=1), alone, strict=True):
        torch.testing.assert_close(part, single.graph.data["paper"].x, rtol=0, atol=0)


def test_nodes_that_no_edge_touches_have_zeros():
    x = WalkFeatures(without_features(), {"paper": ["pap"], "author": ["pap"]}, **TINY).graph.data
    assert (x["paper"].x == 0).all(1).nonzero().flatten().tolist() == [20]
    assert (x["author"].x == 0).all(1).nonzero().flatten().tolist() == [10]


def test_walks_along_a_path_bring_its_nodes_together():
    more = {"dim": 8, "walk_length": 10, "walks_per_node": 10, "context_size": 5, "epochs": 20}
    source = WalkFeatures(without_features(), {"paper": ["pap"]}, **more)
    x = torch.nn.functional.normalize(source.graph.data["paper"].x[:20], dim=1)
    near, far = (x @ x.T)[:10, :10].mean(), (x @ x.T)[:10, 10:].mean()
    assert near > far + 0.5


def test_same_seed_same_vectors_whatever_was_drawn_before(monkeypatch, tmp_path):
    first = WalkFeatures(PLANTED, **TINY).graph.data["group_0"].x
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / "another"))
    state = torch.get_rng_state()
    again = WalkFeatures(PLANTED, **TINY).graph.data["group_0"].x
    assert torch.get_rng_state().equal(state)
    torch.rand(7)
    other = WalkFeatures(PLANTED, **TINY, walk_seed=1).graph.data["group_0"].x
    assert first.equal(again)
    assert not first.equal(other)


def test_what_was_trained_once_is_not_trained_again(monkeypatch):
    first = WalkFeatures(PLANTED, **TINY).graph.data["group_0"].x
    monkeypatch.setattr(WalkFeatures, "train", None)
    assert WalkFeatures(PLANTED, **TINY).graph.data["group_0"].x.equal(first)
    for change in ({"dim": 4}, {"epochs": 2}, {"lr": 0.1}, {"walk_seed": 5}):
        with pytest.raises(TypeError, match="not callable"):
            WalkFeatures(PLANTED, **{**TINY, **change}).read()


def test_each_path_may_have_its_own_block_of_the_targets_features():
    source = WalkFeatures(without_features(), {"paper": ["pyp", "pap"]}, **TINY, per_path=True)
    assert source.spec.path_feature_dims == {"pyp": 8, "pap": 8}
    assert WalkFeatures(without_features(), {"paper": ["pyp", "pap"]}, **TINY).spec.path_feature_dims == {}
    with pytest.raises(ConfigError, match="per_path: no walks give target, the target, its features"):
        _ = WalkFeatures(PLANTED, **TINY, per_path=True).spec


def test_no_walks_leave_the_graph_as_it_is():
    source = WalkFeatures(PLANTED, {})
    assert source.spec == PLANTED.spec
    assert "x" not in source.graph.data["group_0"]


@pytest.mark.parametrize(
    ("walks", "message"),
    [
        ({"groups": ["pap"]}, "walks.groups: no such node type. Node types: target, group_0, group_1"),
        ({"target": ["target-group_0-target"]}, "walks.target: target has features of its own, 60 wide"),
        (
            {"group_0": ["target-group_0-target", "target-group_1-target"]},
            "'target-group_1-target' does not pass group_0",
        ),
        ({"group_0": []}, "walks: group_0 has no features, and no meta-path passes it; name one in walks.group_0"),
    ],
)
def test_walks_that_do_not_fit(walks, message):
    with pytest.raises(ConfigError, match=message):
        WalkFeatures(PLANTED, walks).read()


def test_a_window_longer_than_a_walk():
    with pytest.raises(ValueError, match="context_size: expected at most 4, the nodes of a walk, got 5"):
        WalkFeatures(PLANTED, walk_length=3, context_size=5)
