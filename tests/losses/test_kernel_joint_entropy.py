"""KernelJointEntropy: bounds, who moves, both bandwidths, the watch on its own mass."""

import math

import pytest
import torch
from torch.nn import functional as F

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


@pytest.mark.parametrize("seed", [0, 1])
def test_minimizing_removes_the_salient_factor_from_the_common_code(seed):
    rng = torch.Generator().manual_seed(seed)
    group = torch.arange(200) % 2
    salient = 3.0 * group[:, None].float()
    free = torch.randn(200, 3, generator=rng)
    free[:, 0] = 2 * group - 1  # at first the common code tells the salient groups apart
    free.requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        KernelJointEntropy()(F.normalize(free, dim=1), salient, group == 1).backward()
        optimizer.step()
    codes = torch.cat([F.normalize(free.detach(), dim=1), torch.ones(200, 1)], dim=1)
    weights = torch.linalg.lstsq(codes, (2.0 * group - 1)[:, None]).solution
    right = ((codes @ weights)[:, 0] > 0) == (group == 1)
    assert right.float().mean() < 0.62


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
