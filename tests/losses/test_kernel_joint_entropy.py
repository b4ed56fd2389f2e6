"""KernelJointEntropy: bounds, who moves, both bandwidths, the watch on its own mass."""

import math

import pytest
import torch
from reference.losses_sepclr import loop_joint_entropy
from torch.nn import functional as F

from medgraph.losses.gaussian_kernel import median_bandwidth
from medgraph.losses.joint_entropy import JointEntropy
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.losses.salient_uniformity import clamped
from medgraph.losses.uniformity import Uniformity


def example(rng, n=12, scale=1.0):
    common = F.normalize(torch.randn(n, 4, generator=rng, dtype=torch.float64), dim=1).requires_grad_()
    salient = (scale * torch.randn(n, 3, generator=rng, dtype=torch.float64)).requires_grad_()
    return common, salient, torch.arange(n) % 2 == 0


def test_fixed_bandwidth_is_the_joint_entropy(rng):
    common, salient, is_target = example(rng)
    expected = JointEntropy(0.3, 0.8)(common, salient)
    torch.testing.assert_close(KernelJointEntropy(0.3, 0.8)(common, salient, is_target), expected, rtol=0, atol=0)


@pytest.mark.parametrize("bandwidth", ["fixed", "median"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1000.0])
def test_stays_within_its_bounds(bandwidth, scale, rng):
    common, salient, is_target = example(rng, scale=scale)
    loss = KernelJointEntropy(bandwidth=bandwidth)(common.float(), clamped(salient.float(), is_target), is_target)
    loss.backward()
    assert -math.log(12) - 1e-6 <= loss.item() <= 0
    assert salient.grad.isfinite().all()


def test_clamped_background_gets_no_gradient(rng):
    common, salient, is_target = example(rng)
    KernelJointEntropy()(common, clamped(salient, is_target), is_target).backward()
    assert (salient.grad[~is_target] == 0).all()
    assert (common.grad != 0).any(dim=1).all()


def test_targets_far_apart_feel_nothing_and_the_self_share_says_so(rng):
    common, salient, is_target = example(rng, scale=1000.0)
    term = KernelJointEntropy()
    term(common, clamped(salient, is_target), is_target).backward()
    assert common.grad[is_target].abs().max() < 1e-12
    assert term.self_share(common, clamped(salient, is_target), is_target).item() == pytest.approx(1)
    term = KernelJointEntropy(bandwidth="median")
    assert term.self_share(common, clamped(salient, is_target), is_target).item() < 0.9


def test_median_bandwidth_does_not_see_the_scale(rng):
    common, salient, is_target = example(rng)
    term = KernelJointEntropy(bandwidth="median")
    torch.testing.assert_close(term(common, 50 * salient, is_target), term(common, salient, is_target))


def test_targets_only_leaves_the_background_out(rng):
    common, salient, is_target = example(rng)
    only = KernelJointEntropy(targets_only=True)
    expected = KernelJointEntropy()(common[is_target], salient[is_target], is_target[is_target])
    torch.testing.assert_close(only(common, salient, is_target), expected)
    assert 0 < only.self_share(common, salient, is_target) < 1
    assert only.self_share(common, salient, torch.zeros(12, dtype=torch.bool)) == 1


def readable(codes, group):
    """Accuracy of a least-squares classifier on the rows that it was fitted on."""
    codes = torch.cat([codes, torch.ones(len(codes), 1)], dim=1)
    weights = torch.linalg.lstsq(codes, (2.0 * group - 1)[:, None]).solution
    return (((codes @ weights)[:, 0] > 0) == (group == 1)).float().mean()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "distance"), [(0, 1.0), (1, 3.0), (2, 1.0), (2, 3.0)])
def test_minimizing_removes_the_salient_factor_from_the_common_code(seed, distance):
    rng = torch.Generator().manual_seed(seed)
    group = torch.arange(400) % 2
    salient = distance * group[:, None].float()
    free = torch.randn(400, 3, generator=rng)
    free[:, 0] = 2 * group - 1  # at first the common code tells the salient groups apart
    assert readable(F.normalize(free, dim=1), group) == 1
    free.requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        KernelJointEntropy()(F.normalize(free, dim=1), salient, group == 1).backward()
        optimizer.step()
    assert readable(F.normalize(free.detach(), dim=1), group) < 0.6


@pytest.mark.parametrize("bandwidth", ["fixed", "median"])
@pytest.mark.parametrize("targets_only", [False, True])
def test_fixed_points_are_further_columns(bandwidth, targets_only, rng):
    common, salient, is_target = example(rng)
    held = example(rng, n=7)
    term = KernelJointEntropy(0.4, 0.9, bandwidth, targets_only)
    found = term(common, salient, is_target, *(x.detach() for x in held))
    rows = is_target if targets_only else torch.ones_like(is_target)
    columns = held[2] if targets_only else torch.ones_like(held[2])
    c, s = common[rows], salient[rows]
    widths = [w * (2 * median_bandwidth(x) if bandwidth == "median" else 1) for w, x in ((0.4, c), (0.9, s))]
    expected = loop_joint_entropy(c, s, tuple(widths), (held[0].detach()[columns], held[1].detach()[columns]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for part in (common, salient):
        ours, theirs = (torch.autograd.grad(value, part, retain_graph=True)[0] for value in (found, expected))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_more_columns_leave_less_mass_on_oneself(rng):
    common, salient, is_target = example(rng)
    term = KernelJointEntropy()
    alone = term.self_share(common, salient, is_target)
    assert term.self_share(common, salient, is_target, common, salient, is_target) == pytest.approx(float(alone) / 2)


def test_fixed_points_need_their_groups(rng):
    common, salient, is_target = example(rng)
    with pytest.raises(ValueError, match="fixed_is_target: expected the group of each fixed point, got None"):
        KernelJointEntropy()(common, salient, is_target, common, salient)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="bandwidth: expected one of 'fixed', 'median', got 'mean'"):
        KernelJointEntropy(bandwidth="mean")
    with pytest.raises(ValueError, match="salient_bandwidth: expected a number above 0"):
        KernelJointEntropy(salient_bandwidth=0.0)


@pytest.mark.parametrize("constant", ["common", "salient"])
def test_with_one_code_constant_it_is_the_row_uniformity_of_the_other(constant, rng):
    common, salient, is_target = example(rng)
    moving = salient if constant == "common" else common
    codes = (0 * common, salient) if constant == "common" else (common, 0 * salient)
    expected = Uniformity(0.5, form="row", include_self=True)(moving)
    found = KernelJointEntropy()(*codes, is_target)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(value, moving)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_two_examples_by_hand():
    common, salient = torch.ones(2, 3), torch.tensor([[0.0], [1.0]])
    found = KernelJointEntropy()(common, salient, torch.tensor([False, True]))
    assert found.item() == pytest.approx(math.log((1 + math.exp(-1)) / 2), abs=1e-6)


def test_far_salient_groups_do_not_feel_each_other(rng):
    common, _, is_target = example(rng)
    salient = torch.where(is_target[:, None], 100.0, 0.0).double()
    (whole,) = torch.autograd.grad(KernelJointEntropy()(common, salient, is_target), common)
    (alone,) = torch.autograd.grad(
        KernelJointEntropy()(common[is_target], salient[is_target], is_target[is_target]), common
    )
    torch.testing.assert_close(whole[is_target], alone[is_target] / 2)
