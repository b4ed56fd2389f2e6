"""map_rows: equal to the whole matrix for every block, with its gradient."""

import pytest
import torch

from medgraph.losses.pairs.rows import map_rows


def sorted_best(rows, x, weight):
    return (weight * (x[rows] @ x.T).sort(dim=1).values[:, -2:]).sum(dim=1)


@pytest.mark.parametrize("block", [1, 3, 7, 20])
def test_blocks_equal_the_whole(block, rng):
    x = torch.randn(7, 3, generator=rng, dtype=torch.float64).requires_grad_()
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    found = map_rows(sorted_best, 7, x, weight, block=block)
    expected = sorted_best(slice(0, 7), x, weight)
    torch.testing.assert_close(found, expected)
    got = torch.autograd.grad(found.square().sum(), (x, weight))
    torch.testing.assert_close(got, torch.autograd.grad(expected.square().sum(), (x, weight)))


def test_no_rows_give_an_empty_result():
    x = torch.ones(0, 3, requires_grad=True)
    assert map_rows(lambda rows, x: x[rows].sum(dim=1), 0, x).shape == (0,)
