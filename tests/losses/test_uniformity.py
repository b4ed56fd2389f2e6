"""Uniformity: equal to a loop in every form; its bounds; unchanged by moving the cloud."""

import itertools
import math

import pytest
import torch
from reference.losses_prototypes import loop_uniformity

from medgraph.losses.uniformity import Uniformity

FORMS = list(itertools.product(["pair", "row"], [False, True], [False, True]))


@pytest.mark.parametrize(
    ("n", "form", "include_self", "with_fixed"), [(7, *case) for case in FORMS] + [(40, "pair", False, False)]
)
def test_equals_loop_in_value_and_gradient_in_any_split(n, form, include_self, with_fixed, rng, any_tile):
    x, y = torch.randn(n, 3, generator=rng, dtype=torch.float64), torch.randn(2, 3, generator=rng, dtype=torch.float64)
    x.requires_grad_()
    fixed = y if with_fixed else None
    loss = Uniformity(0.7, form, include_self)(x, fixed)
    expected = loop_uniformity(x, 0.7, form, include_self, fixed)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, x)[0] for value in (loss, expected)), rtol=1e-10, atol=1e-12
    )


def test_equals_the_pdist_form(rng):
    x = torch.randn(20, 4, generator=rng, dtype=torch.float64)
    expected = torch.pdist(x).square().div(-2 * 0.5).exp().mean().log()
    torch.testing.assert_close(Uniformity(0.5)(x), expected)


def test_gradient_is_that_of_the_value(rng):
    x = torch.randn(5, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Uniformity(0.5), x)


@pytest.mark.parametrize("form", ["pair", "row"])
def test_is_zero_when_collapsed_and_below_otherwise(form, rng):
    assert Uniformity(form=form)(torch.full((6, 3), 0.3)).item() == pytest.approx(0, abs=1e-6)
    assert Uniformity(form=form)(torch.randn(6, 3, generator=rng)).item() < 0


def test_row_form_is_never_above_pair_form(rng):
    for _ in range(20):
        x = torch.randn(8, 3, generator=rng)
        assert Uniformity(form="row")(x) <= Uniformity(form="pair")(x) + 1e-6


def test_counting_self_bounds_the_loss(rng):
    x = 1000 * torch.randn(6, 3, generator=rng)
    for cloud in (x, x.double()):
        assert Uniformity(include_self=True)(cloud).item() == pytest.approx(-math.log(6), rel=1e-6)


def test_a_cloud_far_from_the_origin_gives_the_same(rng):
    x = torch.randn(32, 8, generator=rng)
    assert Uniformity()(x + 1000.0).item() == pytest.approx(Uniformity()(x).item(), abs=1e-2)
    exact = Uniformity()((x + 1000.0).double())
    assert Uniformity()(x + 1000.0).item() == pytest.approx(exact.item(), abs=1e-4)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_points_give_zero_with_a_graph(n):
    x = torch.ones(n, 3, requires_grad=True)
    loss = Uniformity()(x)
    loss.backward()
    assert loss.item() == 0


def test_half_precision_stays_finite(rng):
    x = (100 * torch.randn(6, 3, generator=rng)).half().requires_grad_()
    loss = Uniformity()(x)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0, got -1"):
        Uniformity(bandwidth=-1.0)
    with pytest.raises(ValueError, match="form: expected one of 'pair', 'row', got 'all'"):
        Uniformity(form="all")
