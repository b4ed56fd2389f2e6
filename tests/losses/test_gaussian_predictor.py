"""q(s | c), and the two bounds built on it, against loops."""

import math

import pytest
import torch
from reference.losses_sepclr import loop_log_density

from medgraph.losses.gaussian_predictor import GaussianPredictor, log_density
from medgraph.losses.vclub import VCLUB
from medgraph.losses.vl1out import VL1Out
from medgraph.losses.vub import VUB


@pytest.fixture
def codes(rng):
    return torch.randn(7, 4, generator=rng, dtype=torch.float64), torch.randn(7, 3, generator=rng, dtype=torch.float64)


def connected(kind):
    term = kind(hidden_dim=8)
    term.connect(4, 3)
    return term.double()


def densities(term, common, salient):
    with torch.no_grad():
        mean, log_variance = term.predictor(common)
    return [[loop_log_density(s, m, v) for m, v in zip(mean, log_variance, strict=True)] for s in salient]


def test_log_density_equals_a_loop(codes):
    with torch.no_grad():
        mean, log_variance = GaussianPredictor(4, 3).double()(codes[0])
    expected = [loop_log_density(*row) for row in zip(codes[1], mean, log_variance, strict=True)]
    assert log_density(codes[1], mean, log_variance).tolist() == pytest.approx(expected, rel=1e-10)


def test_vclub_equals_a_double_loop(codes):
    term = connected(VCLUB)
    q = densities(term, *codes)  # q[i][j] = log q(s_i | c_j)
    expected = math.fsum(q[i][i] for i in range(7)) / 7 - math.fsum(map(math.fsum, q)) / 49
    assert term(*codes, torch.ones(7, dtype=torch.bool)).item() == pytest.approx(expected, rel=1e-9)


def test_vl1out_equals_a_double_loop(codes, any_tile):
    term = connected(VL1Out)
    q = densities(term, *codes)
    others = [math.log(math.fsum(math.exp(q[i][j]) for j in range(7) if j != i) / 6) for i in range(7)]
    expected = math.fsum(q[i][i] - others[i] for i in range(7)) / 7
    assert term(*codes, torch.ones(7, dtype=torch.bool)).item() == pytest.approx(expected, rel=1e-9)


def test_vub_is_the_divergence_from_a_standard_normal(codes):
    term = connected(VUB)
    mean, log_variance = term.predictor(codes[0])
    ours = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    expected = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(dim=1).mean()
    torch.testing.assert_close(term(*codes, torch.ones(7, dtype=torch.bool)), expected)
