"""Intensity changes with one strength per example, on values in [0, 1]."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def brighten(images: Tensor, shift: Tensor, contrast: Tensor, gamma: Tensor) -> Tensor:
    """clip((x - mean) contrast + mean + shift) ** gamma, strengths (n,), images (n, c, *size)."""
    mean = images.mean(dim=tuple(range(1, images.ndim)), keepdim=True)
    changed = (images - mean) * _column(contrast, images) + mean + _column(shift, images)
    return changed.clamp(0, 1) ** _column(gamma, images)


def add_noise(images: Tensor, std: Tensor, seeds: Tensor) -> Tensor:
    """Gaussian noise of standard deviation `std` (n,), drawn per example from `seeds` (n,)."""
    noise, generator = torch.empty(images.shape, device=images.device), torch.Generator(images.device)
    for one, seed in zip(noise.unbind(), seeds.tolist(), strict=True):
        one.normal_(generator=generator.manual_seed(seed))
    return images + _column(std, images) * noise


def blur(images: Tensor, sigma: Tensor, radius: int = 3) -> Tensor:
    """Separable Gaussian blur of `sigma` voxels (n,), cut off at `radius`; 0 leaves an example as it is.

    The radius is fixed, not taken from the batch: an example's blur must not depend on its neighbours.
    """
    rows = (sigma > 0).nonzero()[:, 0]
    return images if len(rows) == 0 else images.index_copy(0, rows, _blurred(images[rows], sigma[rows], radius))


def _blurred(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    offset = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp_min(1e-3)[:, None]) ** 2)  # 1e-3 voxels: a single tap
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    for axis in range(2, images.ndim):
        lines = images.movedim(axis, -1)
        flat = lines.reshape(1, len(lines), -1, lines.shape[-1])  # (1, n, lines, voxels)
        padded = F.pad(flat, (radius, radius, 0, 0), mode="replicate")
        images = F.conv2d(padded, kernel[:, None, None], groups=len(lines)).reshape(lines.shape).movedim(-1, axis)
    return images


def reach(sigma: float) -> int:
    """Radius at which a Gaussian of so many voxels may be cut off: three deviations."""
    return math.ceil(3 * sigma)


def saturate(images: Tensor, strength: Tensor) -> Tensor:
    """Move the channels towards their mean: strength (n,) 0 gives gray, 1 the image, above 1 stronger color."""
    gray = images.mean(dim=1, keepdim=True)
    return ((images - gray) * _column(strength, images) + gray).clamp(0, 1)


def cut_out(images: Tensor, boxes: Tensor) -> Tensor:
    """Replace a box by the image's mean; boxes (n, 2, axes) hold the first voxel and the one after the last."""
    inside = torch.ones_like(images, dtype=torch.bool)
    for axis in range(boxes.shape[2]):
        shape = [1] * images.ndim
        shape[2 + axis] = -1
        place = torch.arange(images.shape[2 + axis], device=images.device).view(shape)
        low, high = _column(boxes[:, 0, axis], images), _column(boxes[:, 1, axis], images)
        inside = inside & (place >= low) & (place < high)
    return torch.where(inside, images.mean(dim=tuple(range(1, images.ndim)), keepdim=True), images)


def _column(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *[1] * (images.ndim - 1))
