"""AlignmentUniformity: its two terms on the sphere; scale does not matter; it trains in place of NT-Xent."""

import pytest
import torch
from reference.losses_prototypes import loop_uniformity
from torch.nn import functional as F

from medgraph.losses.alignment_uniformity import AlignmentUniformity


@pytest.mark.parametrize("form", ["pair", "row"])
def test_equals_loops_over_unit_rows(form, rng, any_tile):
    first, second = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)
    pull = sum(float((x - y).square().sum()) for x, y in zip(a, b, strict=True)) / 7 / (2 * 0.3)
    spread = sum(float(loop_uniformity(x, 0.3, form, False, None)) for x in (a, b)) / 2
    found = AlignmentUniformity(0.3, uniformity_weight=1.5, form=form)(first, second)
    assert found.item() == pytest.approx(pull + 1.5 * spread, abs=1e-10)


def test_length_of_embeddings_does_not_matter(rng):
    first, second = torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)
    loss = AlignmentUniformity()
    torch.testing.assert_close(loss(7 * first, 0.1 * second), loss(first, second))


def test_gradient_is_that_of_the_value(rng):
    views = [torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(AlignmentUniformity(), views)


def test_minimizing_spreads_examples_and_joins_views(rng):
    views = torch.randn(2, 32, 3, generator=rng)
    views[:, :, 0] += 4  # a collapsed start
    start = views.clone()
    views.requires_grad_()
    loss, optimizer = AlignmentUniformity(), torch.optim.Adam([views], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(views[0], views[1]).backward()
        optimizer.step()
    unit, before = F.normalize(views.detach(), dim=2), F.normalize(start, dim=2)
    assert unit.mean(dim=1).norm(dim=1).max() < 0.2 < before.mean(dim=1).norm(dim=1).min()
    assert (unit[0] - unit[1]).square().sum(dim=1).mean() < 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_far_rows_and_twins_stay_finite_and_so_does_a_zero_row(dtype, rng):
    views = (1000 * torch.randn(2, 6, 3, generator=rng)).to(dtype)
    views[:, 1] = views[:, 2]
    views[:, 0] *= float(dtype is not torch.float32)  # the gradient of a zero row is too long for half precision
    views.requires_grad_()
    loss = AlignmentUniformity()(views[0], views[1])
    loss.backward()
    assert loss.isfinite()
    assert views.grad.isfinite().all()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="uniformity_weight: expected 0 or more, got -1"):
        AlignmentUniformity(uniformity_weight=-1.0)
    with pytest.raises(ValueError, match="form: expected one of 'pair', 'row', got 'all'"):
        AlignmentUniformity(form="all")
