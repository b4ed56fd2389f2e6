"""Loss: autocast is off inside and as before outside; the contract tests look at values."""

import pytest
import torch

from medgraph.losses.loss import Loss


class Seen(Loss):
    """Whether autocast is on in the forward pass."""

    def forward(self, *inputs, **named):
        return torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [([torch.ones(2)], {}), ([], {"x": torch.ones(2)}), ([[torch.ones(2)], torch.ones(2)], {}), ([1.0, [2]], {})],
)
def test_autocast_is_off_inside_and_on_after(inputs, named):
    with torch.autocast("cpu", torch.bfloat16):
        assert not Seen()(*inputs, **named)
        assert torch.is_autocast_enabled("cpu")


def test_without_autocast_nothing_is_entered():
    assert not Seen()(torch.ones(2))
    assert not torch.is_autocast_enabled("cpu")
