import pytest
import torch
from torch.nn import functional as F

from medgraph.transforms import spatial


def test_a_quarter_turn_is_exact_on_any_shape():
    image = torch.rand(1, 1, 30, 50, generator=torch.Generator().manual_seed(1))
    zero, one = torch.zeros(1), torch.ones(1)
    matrix = spatial.affine(30 / 50, torch.full((1,), 90.0), one, one, zero, zero, zero)
    turned = spatial.resample(image, matrix, (30, 50))
    middle = image[..., 10:40]  # the square that stays inside
    expected = middle.rot90(1, (2, 3))
    torch.testing.assert_close(turned[..., 10:40], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_of_a_volume_is_about_its_axis_and_exact_on_any_shape(axis):
    volume = torch.rand(1, 1, 10, 14, 18, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros(1, 3)
    angles = 90.0 * torch.nn.functional.one_hot(torch.tensor([axis]), 3)
    matrix = spatial.volume_affine(volume.shape[2:], angles, torch.ones(1), zeros, zeros)
    turned = spatial.resample(volume, matrix, volume.shape[2:])
    first, second = (2 + other for other in range(3) if other != axis)
    side = min(volume.shape[first], volume.shape[second])  # the square that stays inside

    def middle(x):
        for place in (first, second):
            x = x.narrow(place, (x.shape[place] - side) // 2, side)
        return x

    expected = middle(volume).rot90(-1, (first, second))
    torch.testing.assert_close(middle(turned), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(5, 8), (4, 7, 6), (1, 1)])
def test_the_grid_is_that_of_torch(size):
    matrices = torch.randn(3, len(size), len(size) + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = F.affine_grid(matrices, [3, 1, *size], align_corners=False)
    torch.testing.assert_close(spatial.affine_grid(matrices, size), expected, rtol=0, atol=1e-12)


def test_a_field_bends_by_its_control_points():
    """One shift of all control points moves the view by it; a bent one passes through its points."""
    image = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(1))
    identity = torch.eye(2, 3)[None]
    everywhere = torch.zeros(1, 2, 5, 5)
    everywhere[:, 0] = 2 * 3 / 30  # three pixels to the right
    moved = spatial.resample(image, identity, (20, 30), field=spatial.bend(everywhere, (20, 30)))
    torch.testing.assert_close(moved[..., :27], image[..., 3:], rtol=0, atol=1e-5)
    points = torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(3))
    field = spatial.bend(points, (21, 41))
    torch.testing.assert_close(field[:, ::5, ::10].movedim(-1, 1), points, rtol=0, atol=1e-5)
    expected = F.interpolate(points, (21, 41), mode="bicubic", align_corners=True).movedim(1, -1)
    torch.testing.assert_close(field, expected, rtol=0, atol=1e-5)
    solid = torch.rand(2, 3, 5, 5, 5, generator=torch.Generator().manual_seed(3))
    field = spatial.bend(solid, (9, 13, 5))
    torch.testing.assert_close(field[:, ::2, ::3].movedim(-1, 1), solid, rtol=0, atol=1e-5)
