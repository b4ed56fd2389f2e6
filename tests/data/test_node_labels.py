import numpy as np
import pytest
import torch

from medgraph.data.graphs import make_graph
from medgraph.data.node_labels import check_splits, map_labels
from medgraph.errors import DataError


def mapped(labels, classes=None):
    notes = []
    found, names = map_labels(labels, len(labels), "here", notes, classes)
    return found.tolist(), names, notes


def test_labels_from_zero_stay():
    assert mapped(np.array([0.0, 2.0, 1.0])) == ([0, 2, 1], ("0", "1", "2"), [])


def test_labels_with_gaps_are_mapped_and_it_is_said():
    found, names, notes = mapped(np.array([1, 7, 3, 1]))
    assert (found, names) == ([0, 2, 1, 0], ("1", "3", "7"))
    assert notes == ["here: labels are not 0 to 2; mapped 1 -> 0, 3 -> 1, 7 -> 2."]


def test_text_labels_are_numbered_in_alphabetical_order():
    labels = np.array(["wet", "dry", "", "wet", None, float("nan")], dtype=object)
    assert mapped(labels) == ([1, 0, -1, 1, -1, -1], ("dry", "wet"), [])


def test_missing_numbers_become_minus_one():
    assert mapped(np.array([0, np.nan, -1, 1.0]))[0] == [0, -1, -1, 1]


def test_named_classes_keep_their_numbers():
    assert mapped(np.array([2, -1, 0]), ("b", "a", "c")) == ([2, -1, 0], ("b", "a", "c"), [])
    with pytest.raises(DataError, match="here: label 3, but there are 3 classes"):
        mapped(np.array([3]), ("b", "a", "c"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros(3), r"labels have shape .3,., expected .4,."), (np.array([0, 0.5, 1, 1]), "label 0.5 is not a whole")],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(DataError, match="here: " + message):
        map_labels(labels, 4, "here", [])


def checked(parts, labels=None, classes=()):
    notes = []
    labels = None if labels is None else torch.tensor(labels)
    return check_splits({"20": parts}, labels, classes, 6, "here", notes), notes


def test_duplicates_are_kept_and_told():
    splits, notes = checked({"train": np.array([3, 1, 3]), "test": np.array([0])})
    assert splits["20"]["train"].tolist() == [3, 1, 3]
    assert notes == ["here: train of split '20': 1 repeats among 3 node numbers; kept as they are."]


def test_a_class_missing_from_a_part_is_told():
    _, notes = checked({"train": np.array([0, 1])}, [0, 0, 1, 2, 0, 0], ("a", "b", "c"))
    assert notes == ["here: train of split '20': no node of class b, c."]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [0, 1, 2], "test": [2, 1]}, "'20': 2 nodes lie in both train and test, the first is 1"),
        ({"train": [0, 6]}, "train of split '20': row 1: node 6 is out of bounds, expected 0 to 5"),
        ({"val": [-1]}, "val of split '20': row 0: node -1 is out of bounds"),
        ({"train": [0.5]}, r"train of split '20': shape .1,. of float64, expected a list of node numbers"),
        ({"validation": [0]}, "split '20' has a part 'validation', expected train, val, test"),
        ({"train": [0, 5]}, "train of split '20': node 5 has no label"),
    ],
)
def test_wrong_splits(parts, message):
    with pytest.raises(DataError, match="here: .*" + message):
        checked({part: np.array(index) for part, index in parts.items()}, [0, 0, 0, 0, 0, -1], ("a",))


def test_what_was_mended_is_a_warning_and_stays_with_the_graph():
    edges = {("paper", "to", "author"): np.array([[0, 1], [0, 0]])}
    with pytest.warns(UserWarning, match="mapped 1 -> 0, 2 -> 1"):
        graph = make_graph("paper", {"paper": 2, "author": 1}, edges, {}, np.array([1, 2]))
    assert graph.notes == ("graph: labels are not 0 to 1; mapped 1 -> 0, 2 -> 1.",)
    assert graph.classes == ("1", "2")
    assert graph.labels.tolist() == [0, 1]


def test_spellings_of_nothing_are_no_class():
    notes: list[str] = []
    words = np.array(["b", "NA", "a", "nan", None, "", float("nan"), "None"], dtype=object)
    labels, classes = map_labels(words, 8, "g", notes)
    assert (labels.tolist(), classes) == ([2, -1, 1, -1, -1, -1, -1, 0], ("None", "a", "b"))
    assert notes == ["g: labels: 2 values say 'NA', 'nan' and count as missing."]
