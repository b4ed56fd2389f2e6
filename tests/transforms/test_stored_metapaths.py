import copy
from dataclasses import replace

import pytest

from medgraph.data.synthetic_graph import PlantedGraph
from medgraph.transforms import stored_metapaths
from medgraph.transforms.metapaths import top_k_neighbours
from medgraph.transforms.stored_metapaths import stored_top_k

GRAPH = PlantedGraph(num_targets=80, labelled=5).graph
PATH = GRAPH.metapath("target-group_0-target")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    monkeypatch.setattr(stored_metapaths, "_WORTH_SECONDS", 0.0)
    return tmp_path / "metapaths"


def test_what_comes_from_disk_is_what_was_counted(monkeypatch):
    settings = {"edge_value": "count", "ties": "random", "seed": 3}
    expected = top_k_neighbours(GRAPH, PATH, 7, **settings)
    first = stored_top_k(GRAPH, PATH, 7, **settings)
    monkeypatch.setattr(stored_metapaths, "top_k_neighbours", None)
    again = stored_top_k(GRAPH, PATH, 7, **settings)
    for found in (first, again):
        assert (found != expected).nnz == 0
        assert found.dtype == expected.dtype


def test_other_settings_paths_and_edges_are_counted_anew(folder):
    stored_top_k(GRAPH, PATH, 7)
    stored_top_k(GRAPH, PATH, 8)
    stored_top_k(GRAPH, PATH, 7, edge_value="binary")
    stored_top_k(GRAPH, GRAPH.metapath("target-group_1-target"), 7)
    other = PlantedGraph(num_targets=80, labelled=5, graph_seed=1).graph
    stored_top_k(other, PATH, 7)
    assert len(list(folder.glob("*.indptr.npy"))) == 5
    stored_top_k(GRAPH, PATH, 7)
    assert len(list(folder.glob("*.indptr.npy"))) == 5


def test_features_that_break_ties_are_part_of_what_was_counted(folder):
    for scale, number in ((1.0, 1), (2.0, 3)):
        data = copy.copy(GRAPH.data)
        data["target"].x = scale * GRAPH.data["target"].x.to_dense()
        other = replace(GRAPH, data=data)
        stored_top_k(other, PATH, 3, ties="features")
        assert len(list(folder.glob("*.indptr.npy"))) == number
        stored_top_k(other, PATH, 3, ties="random")
    assert len(list(folder.glob("*.indptr.npy"))) == 3


def test_what_is_counted_fast_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(stored_metapaths, "_WORTH_SECONDS", 60.0)
    stored_top_k(GRAPH, PATH, 7)
    assert not folder.exists()
