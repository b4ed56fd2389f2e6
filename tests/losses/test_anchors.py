"""Unit rows, and the mean over valid anchors."""

import pytest
import torch

from medgraph.losses.anchors import mean_over_valid, unit


def test_mean_leaves_invalid_anchors_out_of_value_and_gradient():
    values = torch.tensor([1.0, torch.inf, 4.0], requires_grad=True)
    mean = mean_over_valid(values, torch.tensor([True, False, True]), "positive")
    mean.backward()
    assert mean.item() == 2.5
    assert values.grad.tolist() == [0.5, 0.0, 0.5]


def test_no_valid_anchor_warns_and_keeps_the_graph():
    values = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no positive: the loss of this batch is 0"):
        mean = mean_over_valid(values, torch.tensor([False, False]), "positive")
    mean.backward()
    assert mean.item() == 0
    assert (values.grad == 0).all()


def test_unit_rows_of_half_precision_are_float32():
    assert unit(torch.ones(2, 4, dtype=torch.float16)).dtype == torch.float32
    torch.testing.assert_close(unit(torch.ones(2, 4)), torch.full((2, 4), 0.5))
