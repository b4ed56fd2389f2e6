"""NTXent: equal to a loop; log(2n - 1) on collapse."""

import math

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_nt_xent

from medgraph.losses.nt_xent import NTXent


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equals_loop(temperature, any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    assert_equal_with_gradients(NTXent(temperature), lambda a, b: loop_nt_xent(a, b, temperature), first, second)


def test_equal_scores_give_log_of_all_others():
    ones = torch.ones(5, 3, dtype=torch.float64)
    assert NTXent()(ones, ones).item() == pytest.approx(math.log(9), rel=1e-12)


def test_reordering_examples_or_views_changes_nothing(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(NTXent()(second[order], first[order]), NTXent()(first, second))


def test_one_example_has_loss_zero(rng):
    first, second = torch.randn(2, 1, 4, generator=rng)
    assert NTXent()(first, second).item() == pytest.approx(0.0, abs=1e-6)


def test_half_precision_stays_finite(rng):
    first, second = torch.randn(2, 6, 4, generator=rng).bfloat16()
    assert NTXent(0.005)(100 * first, second).isfinite()


def test_refuses_a_wrong_temperature():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        NTXent(0.0)


@pytest.mark.usefixtures("shapes_unchecked")
def test_refuses_maps_that_are_no_rows():
    with pytest.raises(ValueError, match=r"first: expected shape \(examples, dim\), got \(2, 3, 4\)"):
        NTXent()(torch.ones(2, 3, 4), torch.ones(2, 3, 4))
