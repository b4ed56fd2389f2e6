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
