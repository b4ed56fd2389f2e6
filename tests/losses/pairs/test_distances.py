import math

import pytest
import torch

from medgraph.losses.pairs.distances import GaussianKernel, LogDistance, MinimalGap

DISTANCE = torch.tensor([[0.0, 1.0, 3.0]])


def test_log_distance_counts_a_pair_one_more_than_its_distance():
    torch.testing.assert_close(LogDistance()(DISTANCE).exp(), torch.tensor([[1.0, 2.0, 4.0]]))


def test_gaussian_kernel_falls_with_the_squared_distance():
    expected = torch.tensor([[1.0, math.exp(-1 / 8), math.exp(-9 / 8)]])
    torch.testing.assert_close(GaussianKernel(bandwidth=2.0)(DISTANCE).exp(), expected)


def test_minimal_gap_keeps_what_is_far_and_on_request_the_same():
    assert MinimalGap(2)(DISTANCE).tolist() == [[False, False, True]]
    assert MinimalGap(1)(DISTANCE).tolist() == [[False, True, True]]
    assert MinimalGap(2, keep_same=True)(DISTANCE).tolist() == [[True, False, True]]


def test_refuses_widths_of_zero():
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        GaussianKernel(0.0)
    with pytest.raises(ValueError, match="gap: expected a number above 0"):
        MinimalGap(0)
