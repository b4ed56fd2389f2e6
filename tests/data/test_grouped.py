import pytest
import torch

from medgraph.data.grouped import GroupedImages
from medgraph.errors import DataError


def grouped(is_target):
    n = len(is_target)

    def make(indices):
        return torch.tensor([float(i) for i in indices]).view(-1, 1, 1, 1)

    return GroupedImages(make, torch.tensor(is_target, dtype=torch.bool), torch.zeros(n, 2), torch.arange(n), "toy")


def test_a_batch_holds_what_was_asked_for():
    batch = grouped([False, True, True]).__getitems__([2, 0])
    assert batch.ids.tolist() == [2, 0]
    assert batch.images.flatten().tolist() == [2, 0]
    assert batch.is_target.tolist() == [True, False]
    assert batch.to("cpu").attributes.shape == (2, 2)


@pytest.mark.parametrize(("is_target", "group"), [([False, False], "target"), ([True], "background")])
def test_an_empty_group_is_refused(is_target, group):
    with pytest.raises(DataError, match=f"toy: the {group} group is empty, expected examples of both groups"):
        grouped(is_target)


def test_an_empty_part_is_told_from_an_empty_group():
    with pytest.raises(DataError, match=r"toy: the target group is empty, .* Split otherwise; 0 examples were found"):
        grouped([])
    with pytest.raises(DataError, match=r"Give images without and with the pattern of interest; 2 examples were found"):
        grouped([True, True])


def test_marked_batches_are_drawn_for_their_epoch():
    def redraw(indices, epoch):
        return torch.full((len(indices), 1, 1, 1), 10.0 + epoch), torch.tensor([[float(i)] * 2 for i in indices])

    plain = grouped([False, True, True])
    assert plain.at_epoch([[2, 0]], 5) == [[2, 0]]
    data = GroupedImages(plain._make, plain.is_target, plain.attributes, plain.subjects, "toy", redraw)
    (rows,) = data.at_epoch([[2, 0]], 5)
    batch = data.__getitems__(rows)
    assert batch.ids.tolist() == [2, 0]
    assert batch.images.flatten().tolist() == [15, 15]
    assert batch.attributes.tolist() == [[2, 2], [0, 0]]
    assert data.__getitems__([2, 0]).images.flatten().tolist() == [2, 0]
