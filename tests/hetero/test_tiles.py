"""A tile is a knob for memory alone: MEOW and AdaMEOW give the same loss and gradients for any."""

from functools import partial

import pytest
import torch
from hetero.planted import encoder_for
from hetero.test_adameow import make as make_adameow
from hetero.test_meow import make as make_meow

from medgraph.losses import pairs
from medgraph.method import Step


def loss_and_gradients(make, data, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(pairs, "pair_lse", partial(pairs.pair_lse, **options))
        torch.manual_seed(0)
        method = make(data).eval()  # no dropout
        loss = method(data.views, Step(0, 0, 0))["loss"]
        names, parameters = zip(*method.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss, {n: g for n, g in zip(names, gradients, strict=True) if g is not None}


METHODS = {
    "meow": make_meow,
    "meow both ways": lambda data: make_meow(data, encoder=encoder_for(data), both_directions=True),
    "adameow": make_adameow,
    "adameow row mean": lambda data: make_adameow(data, "row_mean"),
}


@pytest.mark.parametrize("tile", [32, 89, 90, 1000])
@pytest.mark.parametrize("name", METHODS)
def test_any_tile_equals_the_whole_matrix(name, tile, data, monkeypatch):
    whole, expected = loss_and_gradients(METHODS[name], data, monkeypatch, backend="dense")
    found, gradients = loss_and_gradients(METHODS[name], data, monkeypatch, backend="tiled", tile=tile)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=0)
    assert gradients.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-5, atol=1e-5 * largest, msg=key)
