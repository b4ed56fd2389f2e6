"""Intensity changes with one strength per example, on values in [0, 1]."""

import torch
from torch import Tensor
from torch.nn import functional as F


def brighten(images: Tensor, shift: Tensor, contrast: Tensor, gamma: Tensor) -> Tensor:
    """clip((x - mean) contrast + mean + shift) ** gamma, strengths (n,), images (n, c, h, w)."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed = (images - mean) * _column(contrast) + mean + _column(shift)
    return changed.clamp(0, 1) ** _column(gamma)


def add_noise(images: Tensor, std: Tensor, seeds: Tensor) -> Tensor:
    """Gaussian noise of standard deviation `std` (n,), drawn per example from `seeds` (n,)."""
    noise = torch.empty_like(images)
    for row, seed in enumerate(seeds.tolist()):
        generator = torch.Generator(images.device).manual_seed(seed)
        noise[row] = torch.randn(images.shape[1:], generator=generator, device=images.device)
    return images + _column(std) * noise


def blur(images: Tensor, sigma: Tensor, radius: int = 3) -> Tensor:
    """Separable Gaussian blur of `sigma` voxels (n,), cut off at `radius`; 0 leaves an example as it is.

    The radius is fixed, not taken from the batch: an example's blur must not depend on its neighbours.
    """
    if not bool((sigma > 0).any()):
        return images
    offset = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp_min(1e-3)[:, None]) ** 2)  # 1e-3 voxels: a single tap
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    n, c, h, w = images.shape
    rows = kernel.repeat_interleave(c, dim=0)[:, None]  # (n c, 1, taps)
    flat = images.reshape(1, n * c, h, w)
    padded = F.pad(flat, (radius, radius, radius, radius), mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, rows[:, :, None], groups=n * c), rows[..., None], groups=n * c)
    return blurred.reshape(n, c, h, w)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
