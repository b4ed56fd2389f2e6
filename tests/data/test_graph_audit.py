import numpy as np
import pytest
from reference.graphs import dense_counts, random_graph

from medgraph.data import audit, graph_audit
from medgraph.data.factorized_walks import FactorizedWalks
from medgraph.data.graph_audit import graph_lines
from medgraph.data.graphs import make_graph, reaches_back
from medgraph.data.sample_graph import SampleGraph
from medgraph.data.synthetic_graph import PlantedGraph


@pytest.fixture
def lines():
    labels = np.array([0, 1, 1] * 10)
    splits = {
        "20": {"train": np.array([0, 1]), "test": np.array([3, 4, 5])},
        "40": {"train": np.array([3, 4]), "test": np.array([6, 7])},
    }
    return graph_lines(random_graph(labels=labels, splits=splits))


def test_types_and_edges_are_told(lines):
    assert "nodes  author                    20  features: 5" in lines
    assert "nodes  paper                     30  features: none, one-hot  (target)" in lines
    assert "edges  paper to subject                          30  per paper: 1 to 1, mean 1.0, none for 0" in lines
    authors = next(line for line in lines if line.startswith("edges  paper to author"))
    degree = random_graph().data["paper", "to", "author"].edge_index[0].bincount(minlength=30)
    assert authors.endswith(
        f"0 to {degree.max()}, mean {degree.float().mean():.1f}, none for {int((degree == 0).sum())}"
    )


def test_balance_and_leaks_are_told(lines):
    assert "labels 0 10 (33%), 1 20 (67%); without label 0" in lines
    assert "split  20: train 2 (1/1), test 3 (1/2); no node in two parts" in lines
    assert [line for line in lines if line.startswith("leak")] == [
        "leak   2 training nodes of split 40 are test nodes of split 20: never mix them"
    ]


def test_metapaths_are_counted(lines):
    graph = random_graph(labels=np.array([0, 1, 1] * 10))
    counts = dense_counts(graph, graph.metapath("pap"))
    same = np.equal.outer(graph.labels.numpy(), graph.labels.numpy())[(counts > 0) & ~np.eye(30, dtype=bool)]
    expected = (
        f"path   pap: paper-author-paper, {counts.sum():,.0f} path instances ({np.trace(counts):.0f} to itself), "
        f"{(counts > 0).sum()} pairs ({same.mean():.0%} of the same class), "
        f"targets without any: {(counts.sum(axis=1) == 0).sum()}"
    )
    assert expected in lines


def test_a_large_metapath_is_bounded_not_built(monkeypatch):
    monkeypatch.setattr(graph_audit, "_EXACT_INSTANCES", 10)
    line = next(line for line in graph_lines(random_graph()) if line.startswith("path   psp"))
    assert "at most" in line
    assert "labels none" in graph_lines(random_graph())


def test_the_forecast_bounds_what_is_stored(lines):
    assert (
        "memory features 400 B; 30 neighbours of each target on 2 meta-paths 14.1 KiB (dense matrices would be 7.0 KiB)"
        in lines
    )
    acm = graph_lines(SampleGraph().graph)
    assert any("dense matrices would be 123.2 MiB" in line for line in acm)
    assert graph_audit._size(3 * 2**40) == "3.0 TiB"


def test_large_graphs_are_advised_to_take_mini_batches(monkeypatch):
    assert not any("mini-batches" in line for line in graph_lines(random_graph()))
    monkeypatch.setattr(graph_audit, "_MINI_BATCH_TARGETS", 10)
    assert any(line.endswith("; take mini-batches") for line in graph_lines(random_graph()))


def test_context_is_bounded_by_its_entries():
    graph = random_graph()
    for name in ("pap", "papsp"):
        path = graph.metapath(name)
        parts = [type(path)("part", path.edge_types[:h]) for h in range(1, len(path.edge_types))]
        entries = sum((dense_counts(graph, part) > 0).sum() for part in parts)
        assert entries <= graph_audit._context_entries(graph, path) <= sum(dense_counts(graph, p).sum() for p in parts)


@pytest.mark.parametrize("name", ["pap", "psp", "papap"])
def test_targets_that_no_path_leads_back_to(name):
    graph = random_graph()
    path = graph.metapath(name)
    expected = dense_counts(graph, path).sum(axis=1) > 0
    np.testing.assert_array_equal(reaches_back(graph.data, path), expected)


def test_targets_without_any_path_are_a_warning():
    edges = {("paper", "to", "author"): np.array([[0, 2], [0, 0]])}
    with pytest.warns(UserWarning, match="graph: 1 of 3 paper nodes have no instance of any meta-path, the first is 1"):
        graph = make_graph("paper", {"paper": 3, "author": 1}, edges, {})
    assert any(line.startswith("note: graph: 1 of 3 paper nodes") for line in graph_lines(graph))


def test_features_that_take_long_are_foretold_not_made():
    source = FactorizedWalks(PlantedGraph(num_targets=200, nodes_per_type=12), dim=6)
    lines = audit.lines(source)
    assert "graph" not in vars(source)
    assert "nodes  group_0                   12  features: 6" in lines
    assert next(line for line in lines if line.startswith("memory features")) == next(
        line for line in graph_lines(source.graph) if line.startswith("memory features")
    )


def test_empty_labels_and_splits_are_told_plainly():
    told = graph_lines(random_graph(labels=np.full(30, -1), splits={"fold": {}}))
    assert "labels none: no target has a label, of 30" in told
    assert "split  fold: empty, no target lies in any part" in told
