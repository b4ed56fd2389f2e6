"""Augmentation for segmentation in 3D: volumes and labels move together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import spatial
from medgraph.transforms.draws import between, uniforms
from medgraph.transforms.labelled_augment import LabelledAugment


class VolumeSegmentationAugment(LabelledAugment):
    """One affine or elastic resampling of volumes and labels, then intensity change and noise on the volumes alone.

    Args:
        rotation: Largest rotation about each axis in degrees.
        scale: Zoom, from and to; above 1 shows more than the volume.
        shift: Largest shift along each axis, as a share of the volume.
        flip_axis: Axis d, h or w (0, 1, 2) that is mirrored with probability 1/2; None mirrors none.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        gamma: Exponent, from and to.
        noise: Largest standard deviation of added noise.
        elastic: Largest shift of each of 5 x 5 x 5 control points of an elastic deformation, as a share of the volume.
    """

    def __init__(
        self,
        rotation: float = 12.0,
        scale: tuple[float, float] = (0.88, 1.12),
        shift: float = 0.05,
        flip_axis: int | None = None,
        brightness: float = 0.15,
        contrast: float = 0.25,
        gamma: tuple[float, float] = (0.8, 1.25),
        noise: float = 0.03,
        elastic: float = 0.0,
    ):
        super().__init__(rotation, scale, shift, brightness, contrast, gamma, noise, elastic)
        self.flip_axis = checks.one_of("flip_axis", flip_axis, (None, 0, 1, 2))

    def draw(self, seed: int, number: int, ids: Tensor, shape: Sequence[int]) -> dict[str, Tensor]:
        """A dictionary whose entries have a row per example of `ids` (n,); `shape` is (c, d, h, w)."""
        if len(shape) != 4:
            raise ValueError(
                f"expected volumes (c, d, h, w), got examples of shape {tuple(shape)}; use segmentation_augment"
            )
        u = uniforms(seed, number, ids, 14, stream=501)
        mirror = torch.zeros_like(u[:, :3])
        if self.flip_axis is not None:
            mirror[:, self.flip_axis] = (u[:, 7] < 0.5).float()
        return {
            "matrix": spatial.volume_affine(
                shape[1:],
                between(u[:, 0:3], -self.rotation, self.rotation),
                between(u[:, 6], *self.scale),
                2 * between(u[:, 3:6], -self.shift, self.shift),
                mirror,
            ),
            **self._bends(seed, number, ids, 3, stream=502),
            **self._changes(u[:, 8:]),
        }
