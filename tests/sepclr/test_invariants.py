"""What the published method promises of its terms and no other test holds by a number."""

import math

import pytest
import torch
from reference.losses_prototypes import loop_uniformity
from torch.nn import functional as F

from medgraph.losses.alignment import Alignment
from medgraph.losses.joint_entropy import JointEntropy
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.losses.salient_uniformity import SalientUniformity
from medgraph.losses.uniformity import Uniformity


def rotation(dim, rng):
    return torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64)).Q


@pytest.mark.parametrize("n", [7, 40])
@pytest.mark.parametrize("form", ["pair", "row"])
def test_uniformity_equals_a_double_loop(form, n, rng):
    x = torch.randn(n, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(Uniformity(0.5, form)(x), loop_uniformity(x, 0.5, form, False, None), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [7, 40])
def test_joint_entropy_equals_a_double_loop(n, rng):
    c, s = torch.randn(2, n, 3, generator=rng, dtype=torch.float64)
    rows = []
    for i in range(n):
        distances = ((c[i] - c).square() + (s[i] - s).square()).sum(dim=1).tolist()
        rows.append(math.log(math.fsum(math.exp(-distance) for distance in distances)))
    assert JointEntropy()(c, s).item() == pytest.approx(math.fsum(rows) / n - math.log(n), abs=1e-10)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_a_simplex_is_most_uniform_and_a_cluster_least(dim, rng):
    corners = torch.eye(dim + 1, dtype=torch.float64)
    simplex = F.normalize(corners - corners.mean(dim=0), dim=1)
    found = Uniformity(0.5)(simplex)
    assert found.item() == pytest.approx(-2 * (1 + 1 / dim), abs=1e-10)
    spread = F.normalize(torch.randn(dim + 1, dim, generator=rng, dtype=torch.float64), dim=1)
    cluster = F.normalize(torch.ones(dim + 1, dim, dtype=torch.float64) + 0.1 * spread, dim=1)
    assert found < Uniformity(0.5)(spread) < Uniformity(0.5)(cluster)
    assert Uniformity(0.5)(1.5 * spread) < Uniformity(0.5)(spread)


def test_the_gradient_of_the_joint_entropy_is_the_softmax_formula(rng):
    c, s = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    c.requires_grad_()
    (found,) = torch.autograd.grad(JointEntropy(0.4, 0.7)(c, s), c)
    logits = -torch.cdist(c, c).square() / 0.8 - torch.cdist(s, s).square() / 1.4
    shares = logits.softmax(dim=1).detach()
    gaps = (c[:, None] - c[None]).detach()
    expected = -((shares + shares.T)[:, :, None] * gaps).sum(dim=1) / (9 * 0.4)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_common_terms_move_both_groups(rng):
    views = torch.randn(2, 10, 3, generator=rng).requires_grad_()
    for term in (Alignment()(views[0], views[1]), Uniformity()(views[0])):
        (gradient,) = torch.autograd.grad(term, views)
        assert (gradient[0].abs().sum(dim=1) > 0).all()


def test_turning_codes_changes_nothing_and_moving_salient_ones_does(rng):
    c, s = torch.randn(2, 12, 4, generator=rng, dtype=torch.float64)
    is_target = torch.arange(12) >= 6
    term = KernelJointEntropy()
    expected = term(c, s, is_target)
    torch.testing.assert_close(term(c @ rotation(4, rng), s, is_target), expected)
    torch.testing.assert_close(term(c, s @ rotation(4, rng), is_target), expected)
    salient = SalientUniformity()
    assert abs(float(salient(s + 1, is_target) - salient(s, is_target))) > 1e-3


def test_entropies_tell_copied_codes_from_independent_ones_in_two_dimensions(rng):
    c, other = torch.randn(2, 2048, 2, generator=rng)
    constant, one = torch.zeros(2048, 1), torch.ones(2048, dtype=torch.bool)
    entropy = KernelJointEntropy()

    def shared(s):
        own = -entropy(c, constant, one) - entropy(s, constant, one)
        return float(own + entropy(c, s, one))

    assert shared(other) < 0.03
    assert shared(c) > 0.5


def test_no_term_keeps_a_matrix_of_all_pairs_for_every_dimension(rng):
    n, dim, kept = 1024, 512, []
    c, s = torch.randn(2, n, dim, generator=rng).requires_grad_()
    is_target = torch.arange(n) % 2 == 1

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        KernelJointEntropy()(c, s, is_target) + SalientUniformity()(s, is_target) + Uniformity()(c)
    assert sum(kept) < 8 * n * n


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("num_targets", [1, 5, 6])
def test_terms_stay_finite_at_large_scale_with_twins_and_a_single_target(dtype, num_targets, rng):
    codes = (1000 * torch.randn(6, 3, generator=rng)).to(dtype)
    codes[1] = codes[0]
    codes.requires_grad_()
    is_target = torch.arange(6) >= 6 - num_targets
    for term in (KernelJointEntropy()(codes, codes, is_target), SalientUniformity()(codes, is_target)):
        (gradient,) = torch.autograd.grad(term, codes)
        assert term.isfinite()
        assert gradient.isfinite().all()
