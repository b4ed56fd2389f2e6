import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from medgraph.transforms import intensity

IMAGES = torch.rand(3, 2, 17, 13, generator=torch.Generator().manual_seed(2))


def test_blur_equals_scipy_per_example():
    sigma = torch.tensor([0.0, 0.7, 1.0])
    blurred = intensity.blur(IMAGES, sigma)
    for row, s in enumerate(sigma.tolist()):
        expected = gaussian_filter(IMAGES[row].numpy(), (0, s, s), mode="nearest", radius=(0, 3, 3))
        torch.testing.assert_close(blurred[row], torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_noise_has_its_strength_and_its_seed():
    std, seeds = torch.tensor([0.0, 0.1, 0.2]), torch.tensor([1, 2, 3])
    zeros = torch.zeros(3, 1, 200, 200)
    noise = intensity.add_noise(zeros, std, seeds)
    torch.testing.assert_close(noise.std(dim=(1, 2, 3)), std, rtol=0.02, atol=0)
    assert torch.equal(intensity.add_noise(zeros, std, seeds), noise)
    pairs = torch.stack([noise[1], noise[2], *intensity.add_noise(zeros, std, seeds + 5)[1:]]).flatten(1)
    assert (torch.corrcoef(pairs) - torch.eye(4)).abs().max() < 0.03


def test_brighten_by_nothing_changes_nothing():
    one, zero = torch.ones(3), torch.zeros(3)
    torch.testing.assert_close(intensity.brighten(IMAGES, zero, one, one), IMAGES)


def test_brighten_is_the_formula_for_each_example():
    strengths = [(0.2, 1.0, 1.0), (-0.1, 0.5, 1.0), (0.0, 1.6, 2.5)]  # shift, contrast, gamma
    found = intensity.brighten(IMAGES, *torch.tensor(strengths).T)
    for image, brightened, (shift, contrast, gamma) in zip(IMAGES.numpy(), found, strengths, strict=True):
        mean = image.mean()
        expected = np.clip(mean + contrast * (image - mean) + shift, 0, 1) ** gamma
        np.testing.assert_allclose(brightened.numpy(), expected, atol=1e-6)


def test_saturate_moves_channels_from_or_towards_their_mean():
    images = 0.3 + 0.4 * torch.rand(3, 3, 5, 4, generator=torch.Generator().manual_seed(2))
    found = intensity.saturate(images, torch.tensor([0.0, 0.5, 1.2]))
    for image, moved, strength in zip(images, found, (0.0, 0.5, 1.2), strict=True):
        gray = (image[0] + image[1] + image[2]) / 3
        torch.testing.assert_close(moved, gray + strength * (image - gray))


def test_blur_of_a_volume_equals_scipy():
    volumes = torch.rand(2, 1, 9, 11, 13, generator=torch.Generator().manual_seed(3))
    blurred = intensity.blur(volumes, torch.tensor([0.0, 0.8]))
    expected = gaussian_filter(volumes[1, 0].numpy(), 0.8, mode="nearest", radius=3)
    torch.testing.assert_close(blurred[0], volumes[0])
    torch.testing.assert_close(blurred[1, 0], torch.from_numpy(expected), rtol=0, atol=1e-5)
