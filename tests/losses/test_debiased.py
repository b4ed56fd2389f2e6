"""DebiasedNTXent: equal to a loop; reduces to NT-Xent; the floor stops gradients to negatives."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_debiased

from medgraph.losses.debiased import DebiasedNTXent
from medgraph.losses.nt_xent import NTXent


@pytest.mark.parametrize(("prior", "beta"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1.0), (0.1, 0.5), (0.6, 1.0)])
def test_equals_loop(prior, beta, any_tile, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    loss = DebiasedNTXent(0.5, prior, beta)
    assert_equal_with_gradients(loss, lambda a, b: loop_debiased(a, b, 0.5, prior, beta), first, second)


def test_without_prior_and_beta_equals_nt_xent(rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(DebiasedNTXent(0.5, 0.0)(first, second), NTXent(0.5)(first, second))


def test_reordering_examples_changes_nothing(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order, loss = torch.randperm(9, generator=rng), DebiasedNTXent(beta=1.0)
    torch.testing.assert_close(loss(first[order], second[order]), loss(first, second))


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_one_example_gives_zero_with_a_graph(beta, rng):
    x = torch.randn(1, 4, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no negative"):
        loss = DebiasedNTXent(beta=beta)(x, torch.ones(1, 4))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        DebiasedNTXent(0.0)
    with pytest.raises(ValueError, match="positive_prior: expected a number from"):
        DebiasedNTXent(positive_prior=1.0)
    with pytest.raises(ValueError, match="beta: expected 0 or more"):
        DebiasedNTXent(beta=-1.0)
