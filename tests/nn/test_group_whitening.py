"""GroupWhitening: identity covariance within groups; gradients; evaluation does not depend on the batch."""

import pytest
import torch
from reference.yaml_parts import from_yaml
from spawned import run_in_processes

from medgraph.nn.group_whitening import GroupWhitening

METHODS = ["cholesky", "zca", "newton_schulz"]


def _correlated(rng, n=64, dim=8):
    mixing = torch.randn(dim, dim, generator=rng, dtype=torch.float64)
    return torch.randn(n, dim, generator=rng, dtype=torch.float64) @ mixing + 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_covariance_of_each_group_is_the_identity(method, num_groups, rng):
    layer = GroupWhitening(8, num_groups, method, regularization=0.0, iterations=40)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(7))
    white = layer(_correlated(rng), torch.Generator().manual_seed(7))
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-10)
    for group in order.view(num_groups, -1):
        expected = torch.eye(8 // num_groups, dtype=torch.float64)
        torch.testing.assert_close(white[:, group].T.cov(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", ["zca", "newton_schulz"])
def test_zca_is_the_inverse_square_root_of_the_covariance(method, rng):
    x = _correlated(rng)
    white = GroupWhitening(8, method=method, shuffle=False, regularization=0.0, iterations=40)(x)
    values, vectors = torch.linalg.eigh(x.T.cov())
    torch.testing.assert_close(white, (x - x.mean(dim=0)) @ vectors @ torch.diag(values**-0.5) @ vectors.T)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_the_value(method, rng):
    layer = GroupWhitening(4, 2, method, shuffle=False)
    assert torch.autograd.gradcheck(layer, _correlated(rng, n=6, dim=4).requires_grad_())


@pytest.mark.parametrize("method", METHODS)
def test_reordering_examples_reorders_the_output(method, rng):
    x, order = _correlated(rng), torch.randperm(64, generator=rng)
    layer = GroupWhitening(8, 2, method, shuffle=False)
    torch.testing.assert_close(layer(x[order]), layer(x)[order])


@pytest.mark.parametrize("method", ["zca", "newton_schulz"])
def test_permuting_channels_permutes_the_output_of_zca(method, rng):
    x, order = _correlated(rng), torch.randperm(8, generator=rng)
    layer = GroupWhitening(8, method=method, shuffle=False)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


def test_two_draws_give_two_positives_and_one_seed_the_same(rng):
    x, layer = _correlated(rng), GroupWhitening(8, 2)
    first, again, other = (layer(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_several_draws_share_the_statistics_of_one_batch(rng):
    x, layer, alone = _correlated(rng), GroupWhitening(8, 2), GroupWhitening(8, 2)
    draws = layer.draws(x, 3, torch.Generator().manual_seed(1))
    seeded = torch.Generator().manual_seed(1)
    torch.testing.assert_close(draws[:2], [alone(x, seeded), alone(x, seeded)])
    assert not torch.allclose(draws[1], draws[2])
    once = GroupWhitening(8, 2)
    once(x, torch.Generator().manual_seed(1))
    assert torch.equal(layer._covariance, once._covariance)  # counted once, however many draws
    layer.eval()
    assert len(layer.draws(x, 3)) == 3


@pytest.mark.slow
def test_processes_whiten_together(tmp_path):
    run_in_processes("reference.whitening_checks", "check_together", 2, tmp_path)


def test_is_built_from_a_config():
    layer = from_yaml("{name: group_whitening, dim: 8, num_groups: 2, method: newton_schulz}", "projectors")
    assert isinstance(layer, GroupWhitening)
    assert layer.method == "newton_schulz"


def test_evaluation_depends_on_no_other_example(rng):
    x = _correlated(rng)
    layer = GroupWhitening(8, 2, momentum=1.0, shuffle=False)
    trained = layer(x)
    layer.eval()
    torch.testing.assert_close(layer(x[:1]), layer(x)[:1])
    torch.testing.assert_close(layer(x), trained, rtol=1e-3, atol=1e-3)  # running statistics are kept in float32


def test_refuses_wrong_arguments(rng):
    with pytest.raises(ValueError, match="num_groups: expected a divisor of dim = 8, got 3"):
        GroupWhitening(8, 3)
    with pytest.raises(ValueError, match="whitening groups of 4 channels needs a batch of at least 8, got 7"):
        GroupWhitening(8, 2, shuffle=False)(torch.ones(7, 8))
    with pytest.raises(ValueError, match="rng: a generator is needed to shuffle channels in training"):
        GroupWhitening(8, 2)(torch.ones(16, 8))
    with pytest.raises(ValueError, match="method: expected one of 'cholesky', 'zca', 'newton_schulz', got 'pca'"):
        GroupWhitening(8, method="pca")
