import torch

from medgraph.transforms import spatial


def test_a_quarter_turn_is_exact_on_any_shape():
    image = torch.rand(1, 1, 30, 50, generator=torch.Generator().manual_seed(1))
    zero, one = torch.zeros(1), torch.ones(1)
    matrix = spatial.affine(30 / 50, torch.full((1,), 90.0), one, one, zero, zero, zero)
    turned = spatial.resample(image, matrix, (30, 50))
    middle = image[..., 10:40]  # the square that stays inside
    expected = middle.rot90(1, (2, 3))
    torch.testing.assert_close(turned[..., 10:40], expected, rtol=0, atol=1e-4)
