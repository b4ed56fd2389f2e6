import pytest
import torch
from hetero.planted import planted_graph, planted_views

from medgraph.errors import DataError
from medgraph.hetero.labelled_nodes import LabelledNodes


def labelled(change=None, **arguments):
    graph = planted_graph()
    if change is not None:
        change(graph)
    return LabelledNodes(planted_views(graph), **arguments)


@pytest.mark.parametrize("arguments", [{}, {"num_labelled": 10}, {"split": "10"}])
def test_a_split_is_taken_as_the_graph_holds_it(arguments):
    data = labelled(**arguments)
    example = data.train().__getitems__([0])
    split = data.graph.splits["10"]
    assert data.split == "10"
    assert torch.equal(example.nodes, split["train"])
    assert torch.equal(example.labels, data.graph.labels[split["train"]])
    assert torch.equal(example.validation_nodes, split["val"])
    assert len(data.train()) == len(data.validation()) == len(data.test()) == 1
    assert len(example) == 30
    assert example.views is data.train().views
    assert data.spec.num_classes == 3


def test_so_many_of_each_class_are_drawn_from_a_named_split():
    few, more = (labelled(split="10", num_labelled=count, seed=4) for count in (2, 5))
    assert torch.bincount(few.train().example.labels).tolist() == [2, 2, 2]
    assert (
        set(few.parts["train"].tolist())
        < set(more.parts["train"].tolist())
        < set(more.graph.splits["10"]["train"].tolist())
    )
    assert torch.equal(few.parts["test"], few.graph.splits["10"]["test"])
    other = labelled(split="10", num_labelled=2, seed=5)
    assert set(few.parts["train"].tolist()) != set(other.parts["train"].tolist())


def test_a_share_of_each_class_is_drawn():
    part = labelled(split="10", num_labelled=0.25, seed=4)
    own = torch.bincount(part.graph.labels[part.graph.splits["10"]["train"]])
    assert torch.bincount(part.train().example.labels).tolist() == [-(-int(count) // 4) for count in own]
    assert torch.equal(labelled(num_labelled=0.25, seed=4).parts["train"], part.parts["train"])  # the only split
    with pytest.raises(DataError, match="expected the name of a split, or a number"):
        labelled(_two_splits, num_labelled=0.25).parts  # noqa: B018


def test_numbers_are_checked_before_training():
    data = labelled(split="10")
    data.check_num_labelled(5)
    data.check_num_labelled(0.5)
    with pytest.raises(DataError, match="training targets of class '0', expected 99 or more"):
        data.check_num_labelled(99)


def _two_splits(graph):
    graph.splits["20"] = graph.splits["10"]


def _no_validation(graph):
    graph.splits["10"] = {part: nodes for part, nodes in graph.splits["10"].items() if part != "val"}


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (
            _two_splits,
            {},
            r"data.split: expected the name of a split, or a number in data.num_labelled. Splits: 10, 20\.",
        ),
        (None, {"num_labelled": 30}, r"no split called '30'. Splits: 10. Name one in data.split"),
        (None, {"split": "x"}, r"no split called 'x'. Splits: 10\.$"),
        (_no_validation, {}, "data.split: '10' has no part 'val'; expected train, val, test"),
        (None, {"split": "10", "num_labelled": 29}, r"split '10' has \d+ training targets of class '0', expected 29"),
    ],
)
def test_what_is_missing_is_named(change, arguments, message):
    with pytest.raises(DataError, match=message):
        labelled(change, **arguments).parts  # noqa: B018


def test_a_graph_without_labels_cannot_be_fine_tuned():
    graph = planted_graph()
    views = planted_views(graph)
    object.__setattr__(graph, "labels", None)
    with pytest.raises(DataError, match="the graph has no labels, so nothing can be fine-tuned to them"):
        LabelledNodes(views).train()


def test_a_number_of_labels_is_at_least_one():
    with pytest.raises(ValueError, match="num_labelled: expected 1 or more, got 0"):
        labelled(num_labelled=0)


def test_a_member_of_several_networks_fits_the_same_labels_on_masks_of_its_own():
    data = labelled(num_labelled=0.5, split="10")
    first, second = (data.of_member(member).train().example for member in (0, 1))
    assert torch.equal(first.nodes, second.nodes)
    assert first.views is data.graph_data.views
    assert second.views is data.graph_data.views.of_member(1) is not first.views
