"""Pearson: equal to torch.corrcoef; blind to shift and scale; constant lists."""

import pytest
import torch

from medgraph.losses.pearson import Pearson


def test_equals_corrcoef(rng):
    lists = torch.randn(2, 9, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(Pearson()(*lists), 1 - torch.corrcoef(lists)[0, 1])


def test_shift_and_positive_scale_change_nothing_and_sign_mirrors(rng):
    x, y = torch.randn(2, 9, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(Pearson()(3 * x - 7, 0.1 * y + 2), Pearson()(x, y))
    torch.testing.assert_close(Pearson()(-x, y), 2 - Pearson()(x, y))


@pytest.mark.parametrize("power", [-110, -83, -30, 0, 30, 63, 125])
def test_no_scale_overflows_or_vanishes(power, rng):
    x, y = torch.randn(2, 9, generator=rng)
    scale = 2.0**power
    lists = [[x, y], [x * scale, y], [x, y * scale]]
    (plain, of_plain), (scaled, of_scaled), (target, of_target) = (_with_gradient(*each) for each in lists)
    torch.testing.assert_close(target, plain)
    torch.testing.assert_close(of_target, of_plain)
    torch.testing.assert_close(scaled, plain)
    torch.testing.assert_close(of_scaled * scale, of_plain)


def test_ordinary_values_keep_their_bits(rng):
    x, y = 3 * torch.randn(2, 9, generator=rng)
    a, b = x - x.mean(), y - y.mean()
    assert torch.equal(Pearson()(x, y), 1 - (a / a.norm() * (b / b.norm())).sum())


def _with_gradient(x, y):
    x = x.clone().requires_grad_()
    loss = Pearson()(x, y)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def test_gradient_is_that_of_the_value_and_stops_at_targets(rng):
    x, y = (torch.randn(6, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda p: Pearson()(p, y.detach()), x)
    Pearson()(x, y).backward()
    assert y.grad is None


@pytest.mark.parametrize(("x", "y"), [([2.0, 2.0], [1.0, 3.0]), ([1.0, 3.0], [2.0, 2.0]), ([1.0], [1.0]), ([], [])])
def test_a_constant_or_short_list_gives_one_and_no_gradient(x, y):
    predictions = torch.tensor(x, requires_grad=True)
    loss = Pearson()(predictions, torch.tensor(y))
    loss.backward()
    assert loss.item() == 1
    assert (predictions.grad == 0).all()
