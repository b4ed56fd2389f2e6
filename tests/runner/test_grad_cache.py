import contextlib

import pytest
import torch
from torch import nn

from medgraph.losses.pairs import pair_lse
from medgraph.runner.grad_cache import GradCacheStep


class Contrast(nn.Module):
    """Every embedding against all, with a learned scale."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, z):
        return pair_lse(z, scale=self.log_scale.exp()).mean() - z[:, 0].mean()


def encoder():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4), nn.Dropout(0.2)).double()


def gradients(*modules):
    return [p.grad for module in modules for p in module.parameters()]


@pytest.mark.parametrize(("chunks", "examples"), [(1, 9), (3, 9), (4, 11)])
def test_equals_the_graph_of_all_chunks_with_dropout_on(chunks, examples, rng):
    x = torch.randn(examples, 5, generator=rng, dtype=torch.float64)
    plain, plain_loss, cached, cached_loss = encoder(), Contrast(), encoder(), Contrast()

    torch.manual_seed(7)
    expected = plain_loss(torch.cat([plain(piece) for piece in x.chunk(chunks)]))
    expected.backward()
    following = torch.rand(())

    torch.manual_seed(7)
    value = GradCacheStep(cached, chunks, cached_loss)(x)
    assert torch.rand(()) == following  # random numbers go on as after one pass
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(gradients(cached, cached_loss), gradients(plain, plain_loss), rtol=0, atol=1e-14)


def test_data_parallel_averages_once():
    class Wrapped(nn.Linear):
        quiet = 0

        @contextlib.contextmanager
        def no_sync(self):
            self.quiet += 1
            yield

    wrapped = Wrapped(3, 2)
    GradCacheStep(wrapped, 4, lambda z: z.square().mean())(torch.ones(8, 3))
    assert wrapped.quiet == 3  # all chunks but the last


def test_batch_normalization_is_warned_about():
    norm = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.warns(UserWarning, match="statistics will be those of a chunk"):
        GradCacheStep(norm, 2, torch.sum)
    GradCacheStep(norm, 1, torch.sum)  # one chunk is the whole batch: no warning


def test_chunks_must_be_positive():
    with pytest.raises(ValueError, match="chunks: expected 1 or more"):
        GradCacheStep(nn.Identity(), 0, torch.sum)
