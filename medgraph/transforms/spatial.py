"""Planar geometry: every operation of a view composed into one resampling."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def affine(
    ratio: float, angle: Tensor, scale_y: Tensor, scale_x: Tensor, shift_y: Tensor, shift_x: Tensor, flip: Tensor
) -> Tensor:
    """Matrices that map a view's normalised coordinates (x, y) to the image's, both in [-1, 1].

    Args:
        ratio: Height of the image over its width, so that a rotation does not shear.
        angle: Rotation in degrees, (n,).
        scale_y, scale_x: Share of the image's extent that the view covers, (n,).
        shift_y, shift_x: Centre of the view in the image's normalised coordinates, (n,).
        flip: 1 where the view is mirrored along x, else 0, (n,).

    Returns:
        (n, 2, 3), for `torch.nn.functional.affine_grid`.
    """
    radians = angle * (math.pi / 180)
    cos, sin = radians.cos(), radians.sin()
    mirror = 1 - 2 * flip
    return torch.stack(
        [
            torch.stack([mirror * scale_x * cos, -scale_y * sin * ratio, shift_x], dim=1),
            torch.stack([mirror * scale_x * sin / ratio, scale_y * cos, shift_y], dim=1),
        ],
        dim=1,
    )


def resample(images: Tensor, matrices: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Views (n, c, *size) of images (n, c, h, w) through matrices (n, 2, 3); outside is the border's value."""
    grid = F.affine_grid(matrices.to(images), [len(images), images.shape[1], *size], align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
