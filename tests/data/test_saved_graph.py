from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from reference.graphs import random_graph

from medgraph.data.graphs import make_graph
from medgraph.data.saved_graph import SavedGraph, save_graph
from medgraph.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")  # three papers have no author


def words(targets=30):
    return sp.random(targets, 300, density=0.1, format="csr", rng=np.random.default_rng(5))


@pytest.fixture
def graph():
    labels = np.array(["wet", "dry", ""] * 10)
    splits = {"20": {"train": np.array([0, 1]), "test": np.array([3, 4])}}
    features = {"paper": words(), "author": np.random.default_rng(0).random((20, 5))}
    return random_graph(features=features, labels=labels, splits=splits, metapaths=["pap", "papsp"])


def assert_same(first, second):
    assert first.spec == second.spec
    assert (first.classes, first.metapaths) == (second.classes, second.metapaths)
    assert torch.equal(first.labels, second.labels)
    for name in first.data.node_types:
        if "x" in first.data[name]:
            one, two = first.data[name].x, second.data[name].x
            assert one.layout == two.layout
            torch.testing.assert_close(one.to_dense(), two.to_dense(), rtol=1e-6, atol=0)
    for edge_type in first.data.edge_types:
        assert torch.equal(first.data[edge_type].edge_index, second.data[edge_type].edge_index)
    for split, parts in first.splits.items():
        assert {part: index.tolist() for part, index in second.splits[split].items()} == {
            part: index.tolist() for part, index in parts.items()
        }


def test_a_graph_comes_back_as_it_was(graph, tmp_path):
    save_graph(graph, tmp_path / "g.npz")
    again = SavedGraph(str(tmp_path / "g.npz")).graph
    assert_same(graph, again)
    assert again.keys == {}
    assert [file.name for file in tmp_path.iterdir()] == ["g.npz"]


def test_the_keys_of_the_targets_come_back_and_are_not_those_of_another_type(graph, tmp_path):
    names = np.array([f"00{number}" for number in range(30)], dtype=object)
    save_graph(replace(graph, keys={"id": names}), tmp_path / "g.npz")
    assert SavedGraph(str(tmp_path / "g.npz")).graph.keys["id"].tolist() == names.tolist()
    assert SavedGraph(str(tmp_path / "g.npz"), target_type="author").graph.keys == {}


@pytest.mark.filterwarnings("ignore:.*is joined by 2 relations")
def test_relations_that_nothing_else_would_bring_back_are_stored(tmp_path):
    index = np.array([[0, 1, 2], [1, 0, 1]])
    for edges in (
        {("a", "r", "b"): index, ("b", "rev_r", "a"): index[::-1], ("b", "other", "a"): index[::-1]},
        {("a", "r", "a"): index, ("a", "rev_r", "a"): np.array([[0, 0], [1, 2]])},
        {("a", "r", "b"): index, ("a", "s", "b"): index},
        {("b", "rev_r", "a"): index[::-1]},
    ):
        graph = make_graph("a", {"a": 3, "b": 2}, edges, {"b": np.eye(2), "a": np.eye(3)})
        save_graph(graph, tmp_path / "g.npz")
        read = SavedGraph(str(tmp_path / "g.npz")).graph
        assert read.spec == graph.spec
        assert all(torch.equal(graph.data[e].edge_index, read.data[e].edge_index) for e in graph.data.edge_types)


def test_features_are_normalised_on_request_alone(tmp_path):
    raw = {"paper": words(), "author": 3 + np.random.default_rng(0).random((20, 5))}
    graph = random_graph(features=raw, normalize=False)
    save_graph(graph, tmp_path / "g.npz")
    stored = graph.data["author"].x
    for normalize, expected in ((None, stored), (False, stored), (True, stored / stored.sum(1, keepdim=True))):
        read = SavedGraph(str(tmp_path / "g.npz"), normalize=normalize).graph
        torch.testing.assert_close(read.data["author"].x, expected)


def test_another_target_type_leaves_labels_behind(graph, tmp_path):
    save_graph(graph, tmp_path / "g.npz")
    other = SavedGraph(str(tmp_path / "g.npz"), target_type="author").graph
    assert (other.labels, other.splits, list(other.metapaths)) == (None, {}, ["apa", "apspa"])
    assert SavedGraph(str(tmp_path / "g.npz"), metapaths=("psp",)).graph.metapaths.keys() == {"psp"}


def test_class_names_that_are_numbers_keep_their_order(tmp_path):
    labels = np.arange(30) % 3 * 4 + 2  # 2, 6, 10: as text 10 would come first
    with pytest.warns(UserWarning, match="mapped 2 -> 0, 6 -> 1, 10 -> 2"):
        graph = random_graph(labels=labels)
    save_graph(graph, tmp_path / "g.npz")
    assert_same(graph, SavedGraph(str(tmp_path / "g.npz")).graph)


def test_a_hetero_data_file_of_pyg(graph, tmp_path):
    data = graph.data.clone()
    data["paper"].y = torch.arange(30) % 3
    data["paper"].train_mask = torch.arange(30) < 10
    data["paper"].test_mask = torch.arange(30) >= 20
    torch.save(data, tmp_path / "g.pt")
    found = SavedGraph(str(tmp_path / "g.pt")).graph
    assert found.target_type == "paper"
    assert found.labels.tolist() == (torch.arange(30) % 3).tolist()
    assert found.splits["given"]["test"].tolist() == list(range(20, 30))
    assert found.spec.edge_types == graph.spec.edge_types
    torch.testing.assert_close(found.data["paper"].x.to_dense(), graph.data["paper"].x.to_dense())


class Harm:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_code_in_a_file_never_runs(tmp_path):
    torch.save({"x": Harm(tmp_path / "harm")}, tmp_path / "g.pt")
    with pytest.raises(DataError, match=r"g.pt: .*cannot be read without running code from it .*expected a HeteroData"):
        SavedGraph(str(tmp_path / "g.pt")).read()
    np.savez(tmp_path / "g.npz", facts=np.array([Harm(tmp_path / "harm")], dtype=object))
    with pytest.raises(DataError, match=r"g.npz: expected a graph that save_graph wrote, never a pickle: Object"):
        SavedGraph(str(tmp_path / "g.npz")).read()
    assert not (tmp_path / "harm").exists()


def test_files_that_are_no_graphs(tmp_path):
    with pytest.raises(DataError, match=r"g.npz: no such file, expected a saved graph"):
        SavedGraph(str(tmp_path / "g.npz")).read()
    (tmp_path / "g.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"g.npz: expected a graph that save_graph wrote, never a pickle: begins"):
        SavedGraph(str(tmp_path / "g.npz")).read()
    for facts, words in (
        ('{"version": 7}', "version 7 of the format, expected 1"),
        ("[1]", "version None of the format, expected 1"),
        ('{"version": 1}', "its facts name None as target_type, expected a str as save_graph writes"),
    ):
        np.savez(tmp_path / "g.npz", facts=np.array(facts))
        with pytest.raises(DataError, match=f"g.npz: {words}"):
            SavedGraph(str(tmp_path / "g.npz")).read()
    np.savez(tmp_path / "g.npz", other=np.zeros(3))
    with pytest.raises(DataError, match=r"g.npz: expected a graph that save_graph wrote, never a pickle: .*facts"):
        SavedGraph(str(tmp_path / "g.npz")).read()
    for garbage in (b"", b"hello world\n", b"a,b\n1,2\n", b"\x80\x02}q\x00("):
        (tmp_path / "g.pt").write_bytes(garbage)
        with pytest.raises(DataError, match=r"g.pt: is no file of torch.save, or .*expected a HeteroData. Save the"):
            SavedGraph(str(tmp_path / "g.pt")).read()
    torch.save({"x": torch.ones(2)}, tmp_path / "g.pt")
    with pytest.raises(DataError, match=r"g.pt: holds a dict, expected a HeteroData"):
        SavedGraph(str(tmp_path / "g.pt")).read()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("y", [0, 1], r"node type 'paper', y: is a list, expected a dense tensor"),
        ("train_mask", [True], r"node type 'paper', train_mask: is a list, expected a dense tensor"),
        (
            "train_mask",
            torch.ones(4, dtype=torch.bool),
            r"train_mask: has shape \(4,\), expected \(30,\), one a node",
        ),
        ("y_index", torch.arange(30) + 1, r"y_index: has shape \(30,\) of int64, expected a node number from 0 to 29"),
        ("x", "words", r"x of 'paper': is a str, expected a dense tensor"),
        ("x", torch.ones(30), r"x of 'paper': has shape \(30,\), expected \(nodes, features\)"),
        ("num_nodes", "many", r"node type 'paper': num_nodes is 'many', expected how many nodes there are"),
    ],
)
def test_a_hetero_data_with_other_values_is_refused(graph, tmp_path, key, value, words):
    data = graph.data.clone()
    data["paper"].y = torch.arange(30) % 3
    data["paper"][key] = value
    torch.save(data, tmp_path / "g.pt")
    with pytest.raises(DataError, match=f"g.pt: {words}" if words.startswith("node") else words):
        SavedGraph(str(tmp_path / "g.pt")).read()


def test_numbers_that_carry_a_gradient_are_read(graph, tmp_path):
    data = graph.data.clone()
    data["paper"].y = torch.arange(30) % 3
    data["author"].x = torch.rand(20, 5, dtype=torch.bfloat16, requires_grad=True)
    torch.save(data, tmp_path / "g.pt")
    found = SavedGraph(str(tmp_path / "g.pt"), normalize=False).graph.data["author"].x
    assert torch.equal(found, data["author"].x.detach().float())
