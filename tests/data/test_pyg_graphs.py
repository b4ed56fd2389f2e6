import numpy as np
import pytest
import torch
from reference.graphs import random_graph
from torch_geometric import datasets

from medgraph.data.pyg_graphs import PyGGraph, from_hetero
from medgraph.errors import DataError


@pytest.fixture
def data():
    data = random_graph().data.clone()
    data["paper"].y = torch.arange(30) % 3
    return data


def test_a_data_set_of_pyg_is_read_without_the_network(data, tmp_path, monkeypatch):
    asked = []

    def fake(root, **names):
        asked.append((root, names))
        return [data]

    monkeypatch.setattr(datasets, "HGBDataset", fake)
    graph = PyGGraph("HGBDataset", str(tmp_path), subset="acm").graph
    assert asked == [(str(tmp_path), {"name": "acm"})]
    assert (graph.target_type, graph.spec.num_classes) == ("paper", 3)
    assert list(graph.metapaths) == ["pap", "psp"]
    monkeypatch.setattr(datasets, "DBLP", fake)
    assert PyGGraph("DBLP", "somewhere").spec == graph.spec
    assert asked[1] == ("somewhere", {})


def test_an_unknown_data_set():
    with pytest.raises(ValueError, match=r"dataset: expected one of 'AMiner', 'DBLP', .* got 'Cora'"):
        PyGGraph("Cora", "x")


def test_labels_of_some_nodes_only(data):
    del data["paper"].y
    data["author"].y, data["author"].y_index = torch.tensor([1, 0]), torch.tensor([5, 7])
    labels = from_hetero(data).labels
    assert (labels[5], labels[7], int((labels < 0).sum())) == (1, 0, 18)


def test_the_target_must_be_clear(data):
    with pytest.raises(DataError, match=r"no node type is called 'papers'"):
        from_hetero(data, "papers")
    data["author"].y = torch.zeros(20)
    with pytest.raises(
        DataError, match=r"one node type with labels to take as target, found paper, author. Set target"
    ):
        from_hetero(data)
    assert from_hetero(data, "author").target_type == "author"


def test_features_are_optional(data):
    graph = from_hetero(data, normalize=False)
    np.testing.assert_allclose(graph.data["author"].x, data["author"].x)
    assert "x" not in graph.data["paper"]
