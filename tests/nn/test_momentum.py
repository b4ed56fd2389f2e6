"""MomentumEncoder: a moving average of weights and, on request, of running statistics; no gradient; checkpoints."""

import math

import pytest
import torch
from torch import nn

from medgraph.nn.momentum import MomentumEncoder


def _encoder(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def test_weights_are_the_moving_average_of_all_steps():
    encoder = _encoder()
    slow, expected = MomentumEncoder(encoder, 0.7), [p.detach().clone() for p in encoder.parameters()]
    for seed in range(1, 4):
        encoder.load_state_dict(_encoder(seed).state_dict())
        slow.update(encoder)
        expected = [0.7 * old + 0.3 * new.detach() for old, new in zip(expected, encoder.parameters(), strict=True)]
    torch.testing.assert_close(list(slow.encoder.parameters()), expected, check_stride=False)


@pytest.mark.parametrize(("buffers", "share"), [("copy", 1.0), ("average", 0.25)])
def test_running_statistics_are_copied_or_averaged(buffers, share, rng):
    encoder = _encoder()
    slow = MomentumEncoder(encoder, 0.75, buffers=buffers)
    encoder(torch.randn(8, 3, generator=rng, dtype=torch.float64))
    slow.update(encoder)
    torch.testing.assert_close(slow.encoder[1].running_mean, share * encoder[1].running_mean)
    assert slow.encoder[1].num_batches_tracked == 1


def test_cosine_momentum_rises_to_one():
    encoder = _encoder()
    slow = MomentumEncoder(encoder, 0.9, schedule="cosine", num_steps=4)
    found = []
    for _ in range(6):
        found.append(slow.present_momentum())
        slow.update(encoder)
    expected = [1 - 0.1 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert found == pytest.approx([*expected, 1.0, 1.0])
    assert found[0] == pytest.approx(0.9)


def test_gives_no_gradient_and_leaves_the_encoder_alone():
    encoder = _encoder()
    slow = MomentumEncoder(encoder, 0.5)
    assert not slow(torch.ones(2, 3, dtype=torch.float64)).requires_grad
    assert not any(p.requires_grad for p in slow.parameters())
    assert all(p.requires_grad for p in encoder.parameters())


def test_checkpoint_goes_on_at_the_same_momentum():
    encoder, other_encoder = _encoder(), _encoder(1)
    slow, other = (MomentumEncoder(e, 0.9, "cosine", 10) for e in (encoder, other_encoder))
    for _ in range(3):
        slow.update(other_encoder)
    other.load_state_dict(slow.state_dict())
    assert other.present_momentum() == slow.present_momentum() > 0.9
    for each in (slow, other):
        each.update(encoder)
    torch.testing.assert_close(list(other.parameters()), list(slow.parameters()), rtol=0, atol=0)


def test_refuses_wrong_arguments():
    for arguments in ({"schedule": "cosine"}, {"num_steps": 5}):
        with pytest.raises(ValueError, match='num_steps: needed for schedule "cosine" only'):
            MomentumEncoder(nn.Linear(1, 1), **arguments)
    with pytest.raises(ValueError, match=r"momentum: expected a number from 0\.0 to 1\.0, got 1\.5"):
        MomentumEncoder(nn.Linear(1, 1), 1.5)
    with pytest.raises(ValueError, match="buffers: expected one of 'copy', 'average', got 'keep'"):
        MomentumEncoder(nn.Linear(1, 1), buffers="keep")
