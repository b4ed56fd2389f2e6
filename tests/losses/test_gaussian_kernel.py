"""Kernel sums equal loops; the median bandwidth equals the median."""

import math

import pytest
import torch
from reference.losses_sepclr import kernel

from medgraph.losses.gaussian_kernel import log_kernel_sums, median_bandwidth


@pytest.mark.parametrize("with_keys", [True, False])
def test_sums_equal_a_loop(with_keys, rng, any_tile):
    queries = torch.randn(5, 3, generator=rng, dtype=torch.float64) + 4
    keys = torch.randn(6, 3, generator=rng, dtype=torch.float64) + 4 if with_keys else queries
    found = log_kernel_sums(queries, keys if with_keys else None, rates=(0.5, 3.0))
    expected = [
        [math.log(math.fsum(kernel(q, k, 1 / (2 * rate)) for k in keys)) for q in queries] for rate in (0.5, 3.0)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_median_is_over_pairs_that_differ():
    points = torch.tensor([[0.0], [0.0], [1.0], [3.0]])  # squared distances 1, 1, 4, 9, 9 and a zero
    assert median_bandwidth(points) == pytest.approx(2.0)
    assert median_bandwidth(points[:3]) == pytest.approx(0.5)
    assert median_bandwidth(torch.tensor([[0.0], [1.0], [3.0], [7.0]])) == pytest.approx((9 + 16) / 4)
    assert median_bandwidth(torch.ones(4, 2)) == 0.5
    assert median_bandwidth(torch.ones(0, 2)) == 0.5


def test_median_of_many_rows_is_taken_over_some(rng):
    points = torch.randn(3000, 4, generator=rng)
    points[torch.arange(3000) % 6 > 0] *= 100  # every sixth row counts: 500, of at most 512
    assert median_bandwidth(points) == pytest.approx(median_bandwidth(points[::6]))
