"""MMD: equal to loops, zero for equal groups."""

import pytest
import torch
from reference.losses_sepclr import loop_mmd

from medgraph.losses.mmd import MMD


def test_equals_double_loop(rng, any_tile):
    common = torch.randn(9, 3, generator=rng, dtype=torch.float64)
    is_target = torch.arange(9) < 4
    found = MMD(exponents=(-1, 1))(common, common, is_target).item()
    assert found == pytest.approx(loop_mmd(common[~is_target], common[is_target], [0.1, 1.0, 10.0]), rel=1e-9)


def test_same_points_in_both_groups_cost_nothing(rng):
    points = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    assert MMD()(torch.cat([points, points]), torch.zeros(10, 1), torch.arange(10) < 5).item() == pytest.approx(
        0, abs=1e-9
    )


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="exponents: expected two numbers, the smaller first"):
        MMD(exponents=(2, 1))


@pytest.mark.usefixtures("shapes_unchecked")
def test_exponents_are_whole():
    with pytest.raises(ValueError, match=r"exponents: expected whole numbers, got \(0.9, 1.2\)"):
        MMD(exponents=(0.9, 1.2))
    assert MMD(exponents=(-1.0, 1.0)).rates == MMD(exponents=(-1, 1)).rates
