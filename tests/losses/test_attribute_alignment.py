"""AttributeAlignment: equal to double loops, for numbers and for categories."""

import pytest
import torch
from reference.losses_sepclr import loop_attribute_alignment

from medgraph.losses.attribute_alignment import AttributeAlignment


@pytest.mark.parametrize("bandwidth", [0.0, 0.025])
def test_equals_double_loop(bandwidth, rng):
    salient = torch.randn(9, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    attribute = torch.randint(0, 4, (9,), generator=rng).double() / 4
    loss = AttributeAlignment(bandwidth)
    expected = loop_attribute_alignment(salient.detach(), attribute, bandwidth)
    assert loss(salient, attribute).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda s: loss(s, attribute), salient)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_no_pair_gives_zero_with_a_graph(n):
    salient = torch.ones(n, 1, requires_grad=True)
    with pytest.warns(UserWarning, match=f"all {n} examples have no other of like attribute"):
        loss = AttributeAlignment(0.0)(salient, torch.arange(n).float())
    loss.backward()
    assert loss.item() == 0


def test_a_pair_of_little_weight_counts_in_single_precision():
    salient = torch.tensor([[0.0], [2.0]], requires_grad=True)
    loss = AttributeAlignment()(salient, torch.tensor([0.0, 0.95]))  # weighs exp(-18), below the rounding of 1
    loss.backward()
    assert loss.item() == pytest.approx(4.0)
    assert salient.grad.flatten().tolist() == pytest.approx([-4.0, 4.0])


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="bandwidth: expected 0 or more, got -1"):
        AttributeAlignment(bandwidth=-1.0)
