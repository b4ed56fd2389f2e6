"""Geometry in 2D and 3D: every operation of a view composed into one resampling."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CONTROL_POINTS = 5  # of an elastic deformation, along each axis


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


def volume_affine(size: Sequence[int], angles: Tensor, scales: Tensor, shifts: Tensor, mirror: Tensor) -> Tensor:
    """Matrices that map a view's normalised coordinates (x, y, z) to the volume's, all in [-1, 1].

    Args:
        size: Voxels of the volume (d, h, w), so that a rotation does not shear.
        angles: Rotations in degrees about the axes d, h, w, (n, 3).
        scales: Share of the volume's extent that the view covers, (n,).
        shifts: Centre of the view in the volume's normalised coordinates along d, h, w, (n, 3).
        mirror: 1 where an axis d, h, w is mirrored, else 0, (n, 3).

    Returns:
        (n, 3, 4), for `torch.nn.functional.affine_grid`.
    """
    radians = angles * (math.pi / 180)
    turn = torch.eye(3, device=angles.device, dtype=angles.dtype).expand(len(angles), 3, 3)
    for axis in range(3):
        cos, sin = radians[:, axis].cos(), radians[:, axis].sin()
        one = torch.eye(3, device=angles.device, dtype=angles.dtype).repeat(len(angles), 1, 1)
        first, second = (other for other in range(3) if other != axis)
        one[:, first, first], one[:, second, second] = cos, cos
        one[:, first, second], one[:, second, first] = -sin, sin
        turn = turn @ one
    extent = torch.as_tensor(size, device=angles.device, dtype=angles.dtype)
    turn = turn * (extent / extent[:, None]) * scales[:, None, None] * (1 - 2 * mirror)[:, None]  # axes d, h, w
    return torch.cat([turn.flip(1, 2), shifts.flip(1)[:, :, None]], dim=2)  # torch counts axes from the last


def affine_grid(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """What `torch.nn.functional.affine_grid` gives without aligned corners, (n, a, a + 1) -> (n, *size, a).

    Each axis adds its own part, so that only the last sum is as large as the grid: about ten times as fast.
    """
    axes = len(size)
    ones = [1] * axes
    grid = matrices[:, :, -1].view(-1, axes, *ones)
    for axis, length in enumerate(size):
        places = (2 * torch.arange(length, device=matrices.device, dtype=matrices.dtype) + 1) / length - 1
        along = [*ones[:axis], length, *ones[axis + 1 :]]
        grid = grid + places.view(1, 1, *along) * matrices[:, :, axes - 1 - axis].view(-1, axes, *ones)
    return grid.movedim(1, -1)


def num_displacements(axes: int) -> int:
    """How many numbers the control points of one view take, one for each axis of each point."""
    return axes * CONTROL_POINTS**axes


def control_points(uniform: Tensor, axes: int, largest: float) -> Tensor:
    """Displacements of CONTROL_POINTS along each of `axes` for `bend`, from numbers in [0, 1), (n, num_displacements).

    Along each axis they are at most `largest`, a share of the view.
    """
    return ((4 * uniform - 2) * largest).view(-1, axes, *[CONTROL_POINTS] * axes)


def bend(points: Tensor, size: Sequence[int]) -> Tensor:
    """A smooth field of displacements, as `resample` adds it: control points, spread evenly, joined by cubic splines.

    Args:
        points: Displacements of the control points in normalised coordinates, x first, (n, a, k, ..., k).
        size: Of the view.

    Returns:
        (n, *size, a).
    """
    one = torch.eye(points.shape[2], device=points.device, dtype=points.dtype)[None, None]
    for length in size:  # the first axis of the points becomes the last of the field
        weights = F.interpolate(one, (one.shape[2], length), mode="bicubic", align_corners=True)[0, 0]
        points = points.movedim(2, -1) @ weights
    return points.movedim(1, -1)


def resample(
    images: Tensor, matrices: Tensor, size: Sequence[int], mode: str = "bilinear", field: Tensor | None = None
) -> Tensor:
    """Views (n, c, *size) of images (n, c, ...) through matrices (n, a, a + 1); outside is the border's value.

    A `field` (n, *size, a) moves where each pixel is taken from, in the image's normalised coordinates.
    """
    grid = affine_grid(matrices.to(images), size)
    grid = grid if field is None else grid + field.to(grid)
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
