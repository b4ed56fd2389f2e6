"""What augmentations of images and their labels have in common, in 2D and 3D."""

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import intensity, spatial
from medgraph.transforms.draws import between, uniforms


class LabelledAugment:
    """One affine or elastic resampling of images and labels, then intensity change and noise on the images alone.

    Args:
        rotation: Largest rotation in degrees.
        scale: Zoom, from and to; above 1 shows more than the image.
        shift: Largest shift along each axis, as a share of the image.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        gamma: Exponent, from and to.
        noise: Largest standard deviation of added noise.
        elastic: Largest shift of each control point of an elastic deformation, as a share of the image.
    """

    takes_labels = True

    def __init__(
        self,
        rotation: float,
        scale: tuple[float, float],
        shift: float,
        brightness: float,
        contrast: float,
        gamma: tuple[float, float],
        noise: float,
        elastic: float,
    ):
        self.rotation = checks.not_negative("rotation", rotation)
        self.scale = checks.interval("scale", scale, 0.1, 10.0)
        self.shift = checks.fraction("shift", shift)
        self.brightness = checks.not_negative("brightness", brightness)
        self.contrast = checks.fraction("contrast", contrast)
        self.gamma = checks.interval("gamma", gamma, 0.01, 100.0)
        self.noise = checks.not_negative("noise", noise)
        self.elastic = checks.fraction("elastic", elastic)

    def apply(self, images: Tensor, labels: Tensor, record: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Images (n, c, *size), linearly, and labels (n, *size), by the nearest pixel, both the same way."""
        size = images.shape[2:]
        field = spatial.bend(record["points"], size) if "points" in record else None
        views = spatial.resample(images, record["matrix"], size, field=field)
        moved = spatial.resample(labels[:, None].float(), record["matrix"], size, mode="nearest", field=field)
        views = intensity.brighten(views, record["brightness"], record["contrast"], record["gamma"])
        return intensity.add_noise(views, record["noise"], record["noise_seed"]), moved[:, 0].round().to(torch.long)

    def _changes(self, u: Tensor) -> dict[str, Tensor]:
        """What changes the values, from numbers in [0, 1), (n, 6)."""
        return {
            "brightness": between(u[:, 0], -self.brightness, self.brightness),
            "contrast": 1 + between(u[:, 1], -self.contrast, self.contrast),
            "gamma": between(u[:, 2], *self.gamma),
            "noise": between(u[:, 3], 0, self.noise),
            "noise_seed": (u[:, 4] * 2**24).long() * 2**24 + (u[:, 5] * 2**24).long(),
        }

    def _bends(self, seed: int, number: int, ids: Tensor, axes: int, stream: int) -> dict[str, Tensor]:
        """Control points of the elastic deformation of each example, where there is one."""
        if not self.elastic:
            return {}
        drawn = uniforms(seed, number, ids, spatial.num_displacements(axes), stream=stream)
        return {"points": spatial.control_points(drawn, axes, self.elastic)}
