"""MVInfoNCE and MVDHEL: equal to loops; the order of views does not matter; no overflow."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_mv_dhel, loop_mv_info_nce

from medgraph.losses.multi_view import MVDHEL, MVInfoNCE


@pytest.mark.parametrize("same_view", [True, False])
def test_info_nce_equals_loop(same_view, any_tile, rng):
    views = torch.randn(3, 4, 3, generator=rng, dtype=torch.float64)
    loss = MVInfoNCE(0.5, same_view)
    assert_equal_with_gradients(loss, lambda x: loop_mv_info_nce(x, 0.5, same_view), views)


@pytest.mark.parametrize("num_views", [2, 3])
def test_dhel_equals_loop(num_views, any_tile, rng):
    views = torch.randn(num_views, 5, 3, generator=rng, dtype=torch.float64)
    assert_equal_with_gradients(MVDHEL(0.5), lambda x: loop_mv_dhel(x, 0.5), views)


@pytest.mark.parametrize("loss", [MVInfoNCE(), MVInfoNCE(same_view_negatives=False), MVDHEL()])
def test_reordering_views_or_examples_changes_nothing(loss, rng):
    views = torch.randn(4, 6, 3, generator=rng, dtype=torch.float64)
    order = torch.randperm(6, generator=rng)
    torch.testing.assert_close(loss(views.flip(0)[:, order]), loss(views))


@pytest.mark.parametrize("loss", [MVInfoNCE(0.01), MVDHEL(0.01)])
def test_many_views_at_low_temperature_stay_finite(loss):
    assert loss(torch.ones(6, 8, 4)).isfinite()


def test_dhel_of_one_example_gives_zero_with_a_graph(rng):
    views = torch.randn(2, 1, 4, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 1 anchors have no negative"):
        loss = MVDHEL()(views)
    loss.backward()
    assert loss.item() == 0
    assert (views.grad == 0).all()


@pytest.mark.parametrize("loss", [MVInfoNCE, MVDHEL])
def test_refuses_wrong_settings_and_a_single_view(loss):
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        loss(0.0)
    with pytest.raises(ValueError, match=r"views: expected shape .* at least 2 views"):
        loss()(torch.ones(1, 4, 3))


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("loss", [MVInfoNCE, MVDHEL])
def test_refuses_a_single_matrix(loss):
    with pytest.raises(ValueError, match=r"views: expected shape \(views, examples, dim\) .*, got \(4, 3\)"):
        loss()(torch.ones(4, 3))
