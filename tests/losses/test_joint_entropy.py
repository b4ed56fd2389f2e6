"""JointEntropy: equal to the product of two kernels; its range; saturation."""

import math

import jaxtyping
import pytest
import torch
from reference.losses_prototypes import kernel_matrix
from reference.losses_sepclr import loop_joint_entropy

from medgraph.losses.joint_entropy import JointEntropy


def _product(common, salient):
    return kernel_matrix(common, common, 0.4) * kernel_matrix(salient, salient, 0.9)


@pytest.mark.parametrize("include_self", [True, False])
def test_equals_product_of_kernels_in_value_and_gradient(include_self, rng):
    common = torch.randn(7, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    salient = torch.randn(7, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    loss = JointEntropy(0.4, 0.9, include_self)(common, salient)
    product = _product(common, salient)
    if not include_self:
        product = product * (1 - torch.eye(7))
    expected = (product.sum(dim=1) / (7 if include_self else 6)).log().mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for part in (common, salient):
        ours, theirs = (torch.autograd.grad(value, part, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_the_value(rng):
    parts = [torch.randn(5, 2, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(JointEntropy(), parts)


def test_range_is_reached_at_both_ends(rng):
    assert JointEntropy()(torch.ones(5, 2), torch.ones(5, 3)).item() == pytest.approx(0, abs=1e-6)
    apart = 100 * torch.randn(5, 2, generator=rng)
    assert JointEntropy()(apart, torch.ones(5, 3)).item() == pytest.approx(-math.log(5), rel=1e-6)
    assert JointEntropy()(apart.double(), torch.ones(5, 3)).item() == pytest.approx(-math.log(5), rel=1e-12)


def test_reordering_and_moving_change_nothing(rng):
    common, salient = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(9, generator=rng)
    moved = JointEntropy()(common[order] + 5, salient[order] - 7)
    torch.testing.assert_close(moved, JointEntropy()(common, salient))


def test_self_share_is_the_mass_on_the_diagonal(rng):
    common, salient = torch.randn(2, 6, 2, generator=rng, dtype=torch.float64)
    product = _product(common, salient)
    expected = (product.diagonal() / product.sum(dim=1)).mean()
    torch.testing.assert_close(JointEntropy(0.4, 0.9).self_share(common, salient), expected)


@pytest.mark.parametrize(("n", "include_self"), [(0, True), (1, False)])
def test_too_few_examples_give_zero_with_a_graph(n, include_self):
    common, salient = torch.ones(n, 2, requires_grad=True), torch.ones(n, 3, requires_grad=True)
    loss = JointEntropy(include_self=include_self)(common, salient)
    loss.backward()
    assert loss.item() == 0


def test_half_precision_stays_finite(rng):
    common, salient = ((100 * torch.randn(6, 3, generator=rng)).half().requires_grad_() for _ in range(2))
    JointEntropy()(common, salient).backward()
    assert common.grad.isfinite().all()
    assert salient.grad.isfinite().all()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="common_bandwidth: expected a number above 0, got 0"):
        JointEntropy(common_bandwidth=0.0)
    with pytest.raises(ValueError, match="salient_bandwidth: expected a number above 0, got 0"):
        JointEntropy(salient_bandwidth=0.0)


@pytest.mark.parametrize(
    ("n", "include_self", "num_fixed"), [(7, True, 0), (7, True, 5), (7, False, 0), (7, False, 5), (40, True, 0)]
)
def test_equals_a_double_loop_in_any_split(n, include_self, num_fixed, rng, any_tile):
    common = torch.randn(n, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    salient = torch.randn(n, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    held = [torch.randn(num_fixed, d, generator=rng, dtype=torch.float64) for d in (3, 2)] if num_fixed else []
    found = JointEntropy(0.4, 0.9, include_self)(common, salient, *held)
    expected = loop_joint_entropy(common, salient, (0.4, 0.9), tuple(held) or None, include_self)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for part in (common, salient):
        ours, theirs = (torch.autograd.grad(value, part, retain_graph=True)[0] for value in (found, expected))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_fixed_points_move_the_bound_and_get_no_loss_of_their_own(rng):
    common, salient = 100 * torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    held = 100 * torch.randn(2, 4, 3, generator=rng, dtype=torch.float64)
    assert JointEntropy()(common, salient, *held).item() == pytest.approx(-math.log(5 + 4), rel=1e-6)
    assert JointEntropy()(common, salient, common, salient).item() == pytest.approx(math.log(2 / 10), rel=1e-6)
    none = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    assert JointEntropy()(none, none, *held).item() == 0


def test_fixed_points_come_with_both_parts_of_the_right_width():
    x, wide = torch.ones(3, 2), torch.ones(3, 4)
    with pytest.raises(ValueError, match="fixed_common, fixed_salient: expected both parts of the fixed points"):
        JointEntropy()(x, x, x)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="expected the same length, got fixed_common: 3, fixed_salient: 2"):
            JointEntropy()(x, x, x, x[:2])
        with pytest.raises(ValueError, match="expected the same width, got salient: 2, fixed_salient: 4"):
            JointEntropy()(x, x, x, wide)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
