import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from medgraph.data.heco_folder import HeCoGraph
from medgraph.data.incidence import halves
from medgraph.data.sample_graph import SampleGraph
from medgraph.errors import DataError

# Spec of each published folder: node counts, classes, and entries of each meta-path's count matrix.
PUBLISHED = {
    "acm": ({"paper": 4019, "author": 7167, "subject": 60}, 3, {"pap": 57_853, "psp": 4_338_213}),
    "dblp": (
        {"author": 4057, "paper": 14328, "conference": 20, "term": 7723},
        4,
        {"apa": 11_113, "apcpa": 5_000_495, "aptpa": 7_043_571},
    ),
    "aminer": ({"paper": 6564, "author": 13329, "reference": 35890}, 4, {"pap": 21_976, "prp": 129_824}),
    "imdb": (
        {"movie": 4275, "actor": 5432, "director": 2083, "keyword": 7313},
        3,
        {"mam": 81_360, "mdm": 16_498, "mkm": 319_435},
    ),
}


def published(name: str) -> Path:
    root = os.environ.get("MEDGRAPH_DATA")
    folder = Path(root or "") / "graphs" / name
    if root is None or not folder.is_dir():
        pytest.skip("needs the published graphs under MEDGRAPH_DATA")
    return folder


@pytest.fixture
def folder(tmp_path):
    """Three papers, two authors, two subjects, in HeCo's layout."""
    np.savetxt(tmp_path / "pa.txt", [[0, 0], [1, 0], [1, 1], [2, 1]], fmt="%d", delimiter="\t")
    np.savetxt(tmp_path / "ps.txt", [[0, 0], [1, 1], [2, 1]], fmt="%d", delimiter=" ")
    sp.save_npz(tmp_path / "p_feat.npz", sp.csr_matrix(np.array([[1, 1], [0, 4], [2, 0]])))
    with (tmp_path / "a_feat.npz").open("wb") as stream:
        np.save(stream, np.array([[0.5, -0.5], [3.0, 1.0]]))
    sp.save_npz(tmp_path / "pap.npz", sp.identity(3, format="csr"))
    np.save(tmp_path / "labels.npy", np.array([0.0, 1.0, 1.0]))
    for part, index in {"train": [0, 2], "val": [1], "test": []}.items():
        np.save(tmp_path / f"{part}_20.npy", np.array(index, dtype=np.int64))
    np.save(tmp_path / "nei_a.npy", np.array([{"never": "opened"}], dtype=object), allow_pickle=True)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_a_folder_is_read_whole(folder):
    with pytest.warns(UserWarning, match="test of split '20' is empty and left out"):
        graph = HeCoGraph(str(folder)).graph
    assert graph.spec.node_counts == {"paper": 3, "author": 2, "subject": 2}
    assert graph.spec.feature_dims == {"paper": 2, "author": 2, "subject": 0}
    assert graph.data["paper"].x.to_dense().tolist() == [[0.5, 0.5], [0, 1], [1, 0]]
    assert graph.data["author"].x.tolist() == [[0.5, -0.5], [0.75, 0.25]]
    assert graph.labels.tolist() == [0, 1, 1]
    assert {part: index.tolist() for part, index in graph.splits["20"].items()} == {
        "train": [0, 2],
        "val": [1],
    }
    assert list(graph.metapaths) == ["pap", "psp"]


@pytest.mark.filterwarnings("ignore:.*no node of class", "ignore:.*is empty and left out")
def test_names_can_be_given(folder):
    names = {"p": "trial", "a": "drug", "s": "disease"}
    graph = HeCoGraph(str(folder), node_types=names, metapaths=("trial-drug-trial",), normalize=False).graph
    assert graph.target_type == "trial"
    assert graph.spec.node_counts == {"trial": 3, "drug": 2, "disease": 2}
    assert [path.split("-") for path in graph.metapaths] == [["trial", "drug", "trial"]]  # d is drug and disease
    assert graph.data["trial"].x.to_dense().tolist() == [[1, 1], [0, 4], [2, 0]]


def test_unknown_letters_are_their_own_names(tmp_path):
    np.savetxt(tmp_path / "xy.txt", [[0, 0], [1, 0]], fmt="%d")
    graph = HeCoGraph(str(tmp_path), target_type="x").graph
    assert graph.spec.node_counts == {"x": 2, "y": 1}
    assert graph.labels is None


def write(text):
    return lambda folder: (folder / "pa.txt").write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: [f.unlink() for f in folder.glob("*.txt")], "no edge list, expected files like pa.txt"),
        (
            lambda folder: (folder / "pap.npz").unlink(),
            r"cannot tell the target type from .* .found none.. Set target_type",
        ),
        (write("0 0\n0 x\n"), "pa.txt: expected two node numbers a line: "),
        (write("0 0 1\n"), "pa.txt: 3 columns, expected two node numbers a line"),
        (write("0 0\n3 0\n"), r"edges .'paper', 'to', 'author'., row 1: paper 3 is out of bounds, expected 0 to 2"),
        (
            lambda f: np.save(f / "labels.npy", np.array([{}]), allow_pickle=True),
            "labels.npy: expected .* never a pickle",
        ),
        (
            lambda f: (f / "labels.npy").write_text(""),
            "labels.npy: expected an array of numbers, never a pickle",
        ),
        (
            lambda f: (f / "p_feat.npz").write_text("0 1\n"),
            "p_feat.npz: expected features as a scipy matrix, never a pickle: begins with b'0 '",
        ),
        (
            lambda f: np.savez(f / "p_feat.npz", x=np.zeros(3)),
            "p_feat.npz: expected features as a scipy matrix, never a pickle: ",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        HeCoGraph(str(folder)).read()


def test_a_letter_without_name(folder):
    with pytest.raises(DataError, match="node_types has no name for 's' of its edge files"):
        HeCoGraph(str(folder), node_types={"p": "paper", "a": "author"}).read()


@pytest.mark.filterwarnings("ignore:.*(mapped|repeats)")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_folders_have_the_published_sizes(name):
    graph = HeCoGraph(str(published(name))).graph
    counts, classes, entries = PUBLISHED[name]
    assert graph.spec.node_counts == counts
    assert graph.spec.num_classes == classes
    assert list(graph.metapaths) == list(entries)
    for path, expected in entries.items():
        left, right = halves(graph, graph.metapath(path))
        assert (left @ right).nnz == expected
    for labels_a_class, parts in graph.splits.items():
        assert len(parts["train"]) == int(labels_a_class) * classes
        assert len(parts["val"]) == len(parts["test"]) == 1000


def test_the_blemishes_of_imdb_are_told():
    with pytest.warns(UserWarning, match="imdb: ") as found:
        graph = HeCoGraph(str(published("imdb"))).graph
    assert len(found) == len(graph.notes) == 3
    assert graph.classes == ("1", "2", "3")


def test_the_sample_equals_the_published_folder():
    graph, sample = HeCoGraph(str(published("acm"))).graph, SampleGraph().graph
    assert graph.spec.node_counts == sample.spec.node_counts
    assert torch.equal(graph.labels, sample.labels)
    for name in ("paper", "author"):
        torch.testing.assert_close(graph.data[name].x.to_dense(), sample.data[name].x.to_dense(), rtol=1e-6, atol=0)
    for edge_type in graph.data.edge_types:
        assert torch.equal(graph.data[edge_type].edge_index, sample.data[edge_type].edge_index)
    for split, parts in graph.splits.items():
        assert all(torch.equal(index, sample.splits[split][part]) for part, index in parts.items())
