"""Multi-crop: several views of each slice, large ones to assign clusters from and small ones to predict them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import intensity, spatial
from medgraph.transforms.draws import between, uniforms

Record = list[dict[str, Tensor]]


class MultiCrop:
    """Crops of several sizes with flip, rotation, intensity change, blur and noise (Caron et al., 2020, Sec. 3.2).

    Geometry is one resampling per crop. Values are expected in [0, 1]. Each example's draws depend on seed,
    step and id alone.

    Args:
        sizes: Side of the crops of each group, in voxels.
        counts: Number of crops of each group; the first two crops of the first group assign the clusters.
        areas: Share of the slice's area that a crop of each group covers, from and to.
        flip_probability: Chance of a mirror along the columns: left-right but in sagittal slices.
        rotation: Largest rotation in degrees; corners that leave the slice repeat its border.
        aspect: Largest stretch of one side against the other.
        intensity_probability: Chance of changed brightness, contrast and gamma.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        gamma: Exponent, from and to.
        blur_probability: Chance of a blur.
        noise: Largest standard deviation of added noise.
        blur: Standard deviation of the blur in voxels, from and to.
    """

    def __init__(
        self,
        sizes: tuple[int, ...] = (48, 32),
        counts: tuple[int, ...] = (2, 2),
        areas: tuple[tuple[float, float], ...] = ((0.4, 1.0), (0.15, 0.5)),
        flip_probability: float = 0.5,
        rotation: float = 10.0,
        aspect: float = 1.333,
        intensity_probability: float = 0.8,
        brightness: float = 0.3,
        contrast: float = 0.3,
        gamma: tuple[float, float] = (0.7, 1.5),
        blur_probability: float = 0.3,
        noise: float = 0.05,
        blur: tuple[float, float] = (0.1, 1.0),
    ):
        checks.same_length(sizes=sizes, counts=counts, areas=areas)
        self.sizes = tuple(checks.at_least("sizes", size, 4) for size in sizes)
        self.counts = tuple(checks.at_least("counts", count, 1) for count in counts)
        self.areas = tuple(checks.interval("areas", area, 0.01, 1.0) for area in areas)
        if self.counts[0] < 2:
            raise ValueError(f"counts: the first group holds the two assignment crops, got {counts[0]} crops")
        self.flip_probability = checks.fraction("flip_probability", flip_probability)
        self.rotation = checks.not_negative("rotation", rotation)
        self.aspect = checks.at_least("aspect", aspect, 1.0)
        self.log_aspect = math.log(self.aspect)
        self.intensity_probability = checks.fraction("intensity_probability", intensity_probability)
        self.brightness = checks.not_negative("brightness", brightness)
        self.contrast = checks.fraction("contrast", contrast)
        self.gamma = checks.interval("gamma", gamma, 0.01, 100.0)
        self.blur_probability = checks.fraction("blur_probability", blur_probability)
        self.noise = checks.not_negative("noise", noise)
        self.blur = checks.interval("blur", blur, 0.01, 10.0)

    def draw(self, seed: int, number: int, ids: Tensor, shape: Sequence[int]) -> Record:
        """One dictionary per crop, each entry with a row per example of `ids` (n,); `shape` is (c, h, w)."""
        groups = [group for group, count in enumerate(self.counts) for _ in range(count)]
        return [
            self._draw_crop(uniforms(seed, number, ids, 15, stream=i), group, shape) for i, group in enumerate(groups)
        ]

    def apply(self, images: Tensor, record: Record) -> list[Tensor]:
        """One tensor (n, c, size, size) per crop."""
        return [self._apply_crop(images, crop) for crop in record]

    def _draw_crop(self, u: Tensor, group: int, shape: Sequence[int]) -> dict[str, Tensor]:
        area = between(u[:, 0], *self.areas[group])
        aspect = torch.exp(between(u[:, 1], -self.log_aspect, self.log_aspect))
        scale_y, scale_x = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
        changed = (u[:, 6] < self.intensity_probability).float()
        return {
            "size": torch.full((len(u),), self.sizes[group], device=u.device),
            "matrix": spatial.affine(
                shape[1] / shape[2],
                between(u[:, 2], -self.rotation, self.rotation),
                scale_y,
                scale_x,
                (1 - scale_y) * between(u[:, 3], -1, 1),
                (1 - scale_x) * between(u[:, 4], -1, 1),
                (u[:, 5] < self.flip_probability).float(),
            ),
            "brightness": changed * between(u[:, 7], -self.brightness, self.brightness),
            "contrast": 1 + changed * between(u[:, 8], -self.contrast, self.contrast),
            "gamma": 1 + changed * (between(u[:, 9], *self.gamma) - 1),
            "blur": (u[:, 10] < self.blur_probability).float() * between(u[:, 11], *self.blur),
            "noise": between(u[:, 12], 0, self.noise),
            "noise_seed": (u[:, 13] * 2**24).long() * 2**24 + (u[:, 14] * 2**24).long(),
        }

    def _apply_crop(self, images: Tensor, crop: dict[str, Tensor]) -> Tensor:
        size = int(crop["size"][0])
        views = spatial.resample(images, crop["matrix"], (size, size))
        views = intensity.blur(views, crop["blur"], intensity.reach(self.blur[1]))
        views = intensity.brighten(views, crop["brightness"], crop["contrast"], crop["gamma"])
        return intensity.add_noise(views, crop["noise"], crop["noise_seed"])
