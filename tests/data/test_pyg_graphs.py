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


@pytest.mark.filterwarnings("ignore:Sparse")
def test_edges_may_be_the_transpose_as_a_sparse_tensor(data):
    expected = from_hetero(data)
    for edge_type in data.edge_types:
        index = data[edge_type].edge_index
        size = [int(data[edge_type[side]].num_nodes) for side in (2, 0)]
        data[edge_type].adj_t = torch.sparse_coo_tensor(index.flip(0), torch.ones(index.shape[1]), size).to_sparse_csr()
        del data[edge_type].edge_index
    found = from_hetero(data)
    for edge_type in expected.data.edge_types:
        pairs = [sorted(graph.data[edge_type].edge_index.T.tolist()) for graph in (expected, found)]
        assert pairs[0] == pairs[1]
    del data["paper", "to", "author"].adj_t
    with pytest.raises(DataError, match=r"edges \('paper', 'to', 'author'\): expected edge_index, or adj_t"):
        from_hetero(data)


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
