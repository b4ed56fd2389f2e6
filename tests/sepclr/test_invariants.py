"""What the published method promises of its terms and no other test holds by a number."""

import math

import pytest
import torch
from reference.losses_prototypes import loop_uniformity
from reference.sepclr_parts import method
from torch.nn import functional as F

from medgraph.losses.alignment import Alignment
from medgraph.losses.joint_entropy import JointEntropy
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.losses.salient_uniformity import SalientUniformity
from medgraph.losses.uniformity import Uniformity
from medgraph.runner.memory import LiveBytes
from medgraph.sepclr.batch import Codes


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
    s.requires_grad_()
    gradients = torch.autograd.grad(JointEntropy(0.4, 0.7)(c, s), (c, s))
    logits = -torch.cdist(c, c).square() / 0.8 - torch.cdist(s, s).square() / 1.4
    shares = logits.softmax(dim=1).detach()
    for found, part, bandwidth in zip(gradients, (c, s), (0.4, 0.7), strict=True):
        gaps = (part[:, None] - part[None]).detach()
        expected = -((shares + shares.T)[:, :, None] * gaps).sum(dim=1) / (9 * bandwidth)
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
    c, other = torch.randn(2, 4096, 2, generator=rng)
    constant, one = torch.zeros(4096, 1), torch.ones(4096, dtype=torch.bool)
    entropy = KernelJointEntropy()

    def shared(s):
        own = -entropy(c, constant, one) - entropy(s, constant, one)
        return float(own + entropy(c, s, one))

    assert shared(other) < 0.02
    assert shared(c) > 0.5


def test_terms_stay_below_eight_matrices_of_all_pairs(rng):
    n, dim = 2048, 512
    c, s = torch.randn(2, n, dim, generator=rng).requires_grad_()
    is_target = torch.arange(n) % 2 == 1
    with LiveBytes() as live:
        (KernelJointEntropy()(c, s, is_target) + SalientUniformity()(s, is_target) + Uniformity()(c)).backward()
    assert live.peak < 4 * 8 * n * n


def test_memory_of_the_loss_grows_with_the_batch_and_not_with_its_square(rng):
    peaks, model = [], method()
    for n in (1024, 4096):
        codes = [torch.randn(2 * n, dim, generator=rng).requires_grad_() for dim in (32, 16)]
        with LiveBytes() as live:
            model.loss(Codes.of_views(*codes, torch.arange(n) % 2 == 1))["loss"].backward()
        peaks.append(live.peak)
    assert peaks[1] < 5 * peaks[0]


@pytest.mark.filterwarnings("ignore:none of 6 examples is")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("num_targets", [0, 1, 5, 6])
@pytest.mark.parametrize("form", ["batch", "target", "target_only"])
def test_the_loss_stays_finite_at_large_scale_with_twins_and_small_groups(form, dtype, num_targets, rng):
    common, salient = (1000 * torch.randn(2, 12, 3, generator=rng)).to(dtype)
    for codes in (common, salient):
        codes[1], codes[7] = codes[0], codes[6]  # two examples alike in both views
        codes.requires_grad_()
    torch.manual_seed(0)
    model = method(salient_form=form)
    found = model.loss(Codes.of_views(common, salient, torch.arange(6) >= 6 - num_targets))
    found["loss"].backward()
    assert all(value.isfinite() for value in found.values())
    assert common.grad.isfinite().all()
    assert salient.grad is None or salient.grad.isfinite().all()


def test_turning_codes_changes_no_loss_and_moving_salient_ones_changes_what_knows_the_origin(rng):
    views = torch.randn(2, 24, 4, generator=rng, dtype=torch.float64)
    is_target = torch.arange(12) >= 5
    model = method()

    def terms(common, salient):
        return model.loss(Codes.of_views(common, salient, is_target))

    expected = terms(*views)
    for turned in (terms(views[0] @ rotation(4, rng), views[1]), terms(views[0], views[1] @ rotation(4, rng))):
        for name in ("loss", "common_uniformity", "salient_uniformity", "collapse", "independence"):
            torch.testing.assert_close(turned[name], expected[name], rtol=0, atol=1e-10)
    moved = terms(views[0], views[1] + 0.5)
    torch.testing.assert_close(moved["salient_alignment"], expected["salient_alignment"])
    for name in ("salient_uniformity", "collapse"):
        assert abs(float(moved[name] - expected[name])) > 1e-3


def test_the_collapse_pulls_each_view_of_the_background_by_its_code(rng):
    common, salient = torch.randn(2, 20, 4, generator=rng, dtype=torch.float64)
    salient.requires_grad_()
    is_target = torch.arange(10) >= 4
    found = method(bandwidth=0.3).loss(Codes.of_views(common, salient, is_target))
    (gradient,) = torch.autograd.grad(found["collapse"], salient)
    background = ~is_target.repeat(2)
    torch.testing.assert_close(gradient[background], salient.detach()[background] / (2 * 4 * 0.3))
    assert (gradient[~background] == 0).all()
    silent = torch.where(background[:, None], 0.0, salient)
    assert method().loss(Codes.of_views(common, silent, is_target))["collapse"] == 0
