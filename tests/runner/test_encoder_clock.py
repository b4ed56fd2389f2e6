"""The encoder clock: forward and backward of the encoder, each once, and nothing else."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medgraph.runner import encoder_clock
from medgraph.runner.encoder_clock import EncoderClock

FORWARD, BACKWARD = 0.02, 0.03


class Time:
    """A clock that goes on only while somebody sleeps, however busy the machine is."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


time = Time()


@pytest.fixture(autouse=True)
def clock_of_the_test(monkeypatch):
    monkeypatch.setattr(encoder_clock, "time", time)


class Sleep(torch.autograd.Function):
    """The identity, slowly."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)  # so that a checkpointed pass has to be run again as far as here
        time.sleep(FORWARD)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(BACKWARD)
        return gradient


class Slow(nn.Module):
    def forward(self, x):
        return Sleep.apply(x)


def made() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(Slow()))


def test_forward_and_backward_count_once_and_the_rest_does_not():
    encoder = made()
    clock = EncoderClock(encoder)
    out = encoder(torch.rand(3, 1, 2, 2))
    assert clock.seconds == pytest.approx(FORWARD)
    time.sleep(0.05)
    loss = Sleep.apply(out).sum()
    with clock.backward():
        loss.backward()
    assert clock.seconds == pytest.approx(FORWARD + BACKWARD)  # not the 0.05, not the loss's own
    assert clock.images == 3


def test_parts_called_one_by_one_count_too():
    encoder = made()
    clock = EncoderClock(encoder)
    encoder[1][0](encoder[0](torch.rand(2, 1, 2, 2)))
    assert clock.seconds == pytest.approx(FORWARD)
    assert clock.images == 2


def test_a_forward_pass_run_again_in_the_backward_pass_counts_with_it():
    encoder = made()
    clock = EncoderClock(encoder)
    out = checkpoint(encoder, torch.rand(3, 1, 2, 2), use_reentrant=False)
    with clock.backward():
        out.sum().backward()
    assert clock.images == 3
    assert clock.seconds == pytest.approx(2 * FORWARD + BACKWARD)


def test_without_a_gradient_there_is_no_backward_pass():
    encoder = made().requires_grad_(False)
    clock = EncoderClock(encoder)
    weight = torch.ones(1, requires_grad=True)
    loss = (weight * encoder(torch.rand(1, 1, 2, 2))).sum()
    before = clock.seconds
    with clock.backward():
        loss.backward()
    assert clock.seconds == before


def test_closed_it_leaves_no_hook():
    encoder = made()
    EncoderClock(encoder).close()
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in encoder.modules())
