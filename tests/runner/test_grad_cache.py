import contextlib

import pytest
import torch
from spawned import run_in_processes
from torch import nn

from medgraph.errors import ConfigError
from medgraph.losses.pairs import pair_lse
from medgraph.method import Method
from medgraph.runner.grad_cache import GradCacheStep, encoder_in_chunks


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


def test_batch_normalization_of_a_method_is_warned_about():
    method = Contrasting()
    method.encoder.append(nn.BatchNorm1d(4, dtype=torch.float64))
    with (
        pytest.warns(UserWarning, match=r"one: train.grad_cache_chunks: .* statistics will be those of a chunk"),
        encoder_in_chunks(method, 2, "one"),
    ):
        method(torch.ones(4, 5, dtype=torch.float64), None)
    with encoder_in_chunks(method, 1, "one"):
        method(torch.ones(4, 5, dtype=torch.float64), None)


def test_chunks_must_be_positive():
    with pytest.raises(ValueError, match="chunks: expected 1 or more"):
        GradCacheStep(nn.Identity(), 0, torch.sum)


class Contrasting(Method):
    """A method that contrasts all embeddings of its batch, or does not call its encoder on a batch."""

    def __init__(self, pieces=False):
        super().__init__()
        self.encoder, self.contrast, self.pieces = encoder(), Contrast(), pieces

    def training_step(self, batch, step, views):
        z = self.encoder[0](batch) if self.pieces else self.encoder(batch)
        return {"loss": self.contrast(z)}


@pytest.mark.parametrize("chunks", [2, 4])
def test_any_method_keeps_the_graph_of_one_chunk(chunks, rng):
    x = torch.randn(11, 5, generator=rng, dtype=torch.float64)
    plain, chunked = Contrasting().eval(), Contrasting().eval()  # no dropout: the order of random numbers differs
    plain(x, None)["loss"].backward()
    rows = []
    chunked.encoder[0].register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    with encoder_in_chunks(chunked, chunks, "test"):
        chunked(x, None)["loss"].backward()
        with torch.no_grad():
            assert len(chunked.encoder(x)) == 11  # nothing to save
    assert sorted(rows)[:-1] == sorted(2 * [len(piece) for piece in x.chunk(chunks)])  # once forward, once backward
    torch.testing.assert_close(gradients(chunked), gradients(plain), rtol=0, atol=1e-14)
    assert "forward" not in vars(chunked.encoder)


def test_dropout_draws_the_same_numbers_in_the_second_pass(rng):
    x = torch.randn(9, 5, generator=rng, dtype=torch.float64)
    plain, chunked = Contrasting(), Contrasting()
    torch.manual_seed(7)
    plain.contrast(torch.cat([plain.encoder(piece) for piece in x.chunk(3)])).backward()
    torch.manual_seed(7)
    with encoder_in_chunks(chunked, 3, "test"):
        chunked(x, None)["loss"].backward()
    torch.testing.assert_close(gradients(chunked), gradients(plain), rtol=0, atol=1e-14)


def test_chunks_without_effect_are_refused():
    method = Contrasting(pieces=True)
    with (
        pytest.raises(ConfigError, match=r"one: train.grad_cache_chunks has no effect: Contrasting does not call its"),
        encoder_in_chunks(method, 2, "one"),
    ):
        method(torch.ones(4, 5, dtype=torch.float64), None)
    with encoder_in_chunks(method, 1, "one"):
        method(torch.ones(4, 5, dtype=torch.float64), None)


@pytest.mark.slow
def test_processes_average_once_and_exactly(tmp_path):
    run_in_processes("reference.grad_cache_checks", "check_data_parallel", 2, tmp_path)
