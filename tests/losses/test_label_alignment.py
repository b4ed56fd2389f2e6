"""LabelAlignment: equal to a loop; equal labels draw alike; equal rows cost nothing."""

import pytest
import torch
from reference.losses_ordinal import loop_label_alignment
from reference.losses_pairwise import assert_equal_with_gradients

from medgraph.losses import LabelAlignment, pairs


@pytest.mark.parametrize("shape", [(9,), (9, 2)])
@pytest.mark.parametrize("tile", [0, 1, 4])
def test_equals_loop(shape, tile, rng, monkeypatch):
    if tile:
        for module in (pairs.lse, pairs.sum):
            monkeypatch.setattr(module, "DENSE_BELOW", 0)
            monkeypatch.setattr(module, "tile_size", lambda *_: tile)
    x, labels = (torch.randn(9, 3, generator=rng).double(), torch.randn(*shape, generator=rng).double())
    loss = LabelAlignment(0.7, 0.4)
    assert_equal_with_gradients(lambda z: loss(z, labels), lambda z: loop_label_alignment(z, labels, 0.7, 0.4), x)


def test_gradcheck(rng):
    x, labels = torch.randn(5, 3, generator=rng).double().requires_grad_(), torch.arange(5.0)
    assert torch.autograd.gradcheck(lambda z: LabelAlignment()(z, labels), x)


def test_shift_and_order_change_nothing(rng):
    x, labels, order = torch.randn(9, 3, generator=rng).double(), torch.arange(9.0), torch.randperm(9, generator=rng)
    loss = LabelAlignment()
    torch.testing.assert_close(loss(x[order] + 50, labels[order]), loss(x, labels))


def test_labels_out_of_reach_give_zero_with_a_graph():
    x = torch.eye(2, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no other example"):
        loss = LabelAlignment()(x, torch.tensor([0.0, 1e6]))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="label_bandwidth: expected a number above 0"):
        LabelAlignment(label_bandwidth=-1.0)


def test_clusters_far_apart_keep_the_distances_within_them(rng):
    x = torch.randn(8, 3, generator=rng) + 1e4 * (torch.arange(8) % 2)[:, None]
    labels = 100.0 * (torch.arange(8) % 2)
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    loss, expected = LabelAlignment()(single, labels), LabelAlignment()(double, labels.double())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(single.grad, double.grad.float(), rtol=1e-5, atol=1e-6)


def test_dates_count_by_their_distance(rng):
    x, days = torch.randn(9, 3, generator=rng), torch.arange(9) % 5
    torch.testing.assert_close(LabelAlignment()(x, days + 20240101), LabelAlignment()(x, days.float()))
