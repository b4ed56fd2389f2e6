"""Augmentation for segmentation: images and labels move together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import spatial
from medgraph.transforms.draws import between, uniforms
from medgraph.transforms.labelled_augment import LabelledAugment


class SegmentationAugment(LabelledAugment):
    """One affine or elastic resampling of slices and labels, then intensity change and noise on the slices alone.

    Args:
        rotation: Largest rotation in degrees.
        scale: Zoom, from and to; above 1 shows more than the slice.
        shift: Largest shift, as a share of the slice.
        flip_probability: Chance of a mirror along the columns: left-right but in sagittal slices.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        gamma: Exponent, from and to.
        noise: Largest standard deviation of added noise.
        elastic: Largest shift of each of 5 x 5 control points of an elastic deformation, as a share of the slice.
    """

    def __init__(
        self,
        rotation: float = 15.0,
        scale: tuple[float, float] = (0.85, 1.15),
        shift: float = 0.05,
        flip_probability: float = 0.0,
        brightness: float = 0.15,
        contrast: float = 0.25,
        gamma: tuple[float, float] = (0.8, 1.25),
        noise: float = 0.03,
        elastic: float = 0.0,
    ):
        super().__init__(rotation, scale, shift, brightness, contrast, gamma, noise, elastic)
        self.flip_probability = checks.fraction("flip_probability", flip_probability)

    def draw(self, seed: int, number: int, ids: Tensor, shape: Sequence[int]) -> dict[str, Tensor]:
        """A dictionary whose entries have a row per example of `ids` (n,); `shape` is (c, h, w)."""
        if len(shape) != 3:
            raise ValueError(
                f"expected slices (c, h, w), got examples of shape {tuple(shape)}; use volume_segmentation_augment"
            )
        u = uniforms(seed, number, ids, 11, stream=101)
        scale = between(u[:, 1], *self.scale)
        return {
            "matrix": spatial.affine(
                shape[1] / shape[2],
                between(u[:, 0], -self.rotation, self.rotation),
                scale,
                scale,
                2 * between(u[:, 2], -self.shift, self.shift),
                2 * between(u[:, 3], -self.shift, self.shift),
                (u[:, 4] < self.flip_probability).float(),
            ),
            **self._bends(seed, number, ids, 2, stream=102),
            **self._changes(u[:, 5:]),
        }

    def draw_stacks(
        self, seed: int, number: int, ids: Tensor, shape: Sequence[int], num_slices: int
    ) -> dict[str, Tensor]:
        """A row for each of `num_slices` slices of each stack of `ids` (b,), stack after stack.

        The slices of a stack move and change together; each has its own noise.
        """
        record = self.draw(seed, number, ids, shape)
        record = {name: rows.repeat_interleave(num_slices, dim=0) for name, rows in record.items()}
        record["noise_seed"] = record["noise_seed"] + torch.arange(num_slices, device=ids.device).repeat(len(ids))
        return record
