"""YAwareInfoNCE: equal to a loop; a narrow kernel is InfoNCE."""

import pytest
import torch
from reference.losses_ordinal import loop_y_aware
from reference.losses_pairwise import assert_equal_with_gradients

from medgraph.losses import InfoNCE, YAwareInfoNCE, pairs


@pytest.mark.parametrize("shape", [(9,), (9, 2)])
@pytest.mark.parametrize("tiled", [False, True])
def test_equals_loop(shape, tiled, rng, monkeypatch):
    if tiled:
        for module in (pairs.lse, pairs.sum):
            monkeypatch.setattr(module, "DENSE_BELOW", 0)
            monkeypatch.setattr(module, "tile_size", lambda *_: 4)
    queries, keys = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    labels = torch.randn(*shape, generator=rng, dtype=torch.float64)
    loss = YAwareInfoNCE(0.5, 0.8)
    assert_equal_with_gradients(
        lambda q, k: loss(q, k, labels), lambda q, k: loop_y_aware(q, k, labels, 0.5, 0.8), queries, keys
    )


def test_narrow_kernel_equals_info_nce(rng):
    queries, keys = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    loss = YAwareInfoNCE(0.5, 1e-4)(queries, keys, torch.arange(9).double())
    torch.testing.assert_close(loss, InfoNCE(0.5)(queries, keys))


def test_gradcheck(rng):
    inputs = [torch.randn(5, 3, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    labels = torch.randn(5, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q, k: YAwareInfoNCE(0.5)(q, k, labels), inputs)


def test_refuses_wrong_settings_and_labels():
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        YAwareInfoNCE(bandwidth=0.0)
    with pytest.raises(ValueError, match="labels: NaN or infinity in 1 of 3"):
        YAwareInfoNCE()(torch.eye(3), torch.eye(3), torch.tensor([1.0, torch.nan, 2.0]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_dates_count_by_their_distance(dtype, rng):
    x, days = torch.randn(9, 3, generator=rng), torch.arange(9) % 5
    loss = YAwareInfoNCE()(x, x.flip(0), (days + 20240101).to(dtype))
    torch.testing.assert_close(loss, YAwareInfoNCE()(x, x.flip(0), days.float()), rtol=0, atol=0)
