"""HSIC: equal to whole matrices; from 0 to 1."""

import pytest
import torch
from reference.losses_sepclr import matrix_alignment

from medgraph.losses.hsic import HSIC

ALL = torch.ones(300, dtype=torch.bool)


def test_equals_whole_matrices(rng, any_tile):
    common, salient = torch.randn(2, 11, 3, generator=rng, dtype=torch.float64)
    is_target = torch.arange(11) != 4
    expected = matrix_alignment(common[is_target], salient[is_target])
    assert HSIC()(common, salient, is_target).item() == pytest.approx(expected, rel=1e-8)


def test_copied_codes_give_one_independent_ones_little(rng):
    common, salient = torch.randn(2, 300, 2, generator=rng)
    assert HSIC()(common, 3 * common + 5, ALL).item() == pytest.approx(1, abs=1e-5)
    assert HSIC()(common, salient, ALL).item() < 0.05


@pytest.mark.parametrize(("n", "dim", "expected"), [(32, 32, 0.743), (256, 32, 0.268), (300, 2, 0.020)])
def test_independent_codes_give_the_bias_that_the_docstring_tells(n, dim, expected, rng):
    every = torch.ones(n, dtype=torch.bool)
    found = [HSIC()(*torch.randn(2, n, dim, generator=rng), every).item() for _ in range(10)]
    assert sum(found) / 10 == pytest.approx(expected, abs=0.01)


def test_constant_codes_depend_on_nothing(rng):
    common = torch.randn(300, 2, generator=rng, requires_grad=True)
    loss = HSIC()(common, torch.ones(300, 2), ALL)
    loss.backward()
    assert loss.item() == 0
