"""VolumeViews: two views of each volume."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import intensity, spatial
from medgraph.transforms.draws import between, uniforms

Record = list[dict[str, Tensor]]

_TURNS = ("rotation", "orientation", "angle")  # a mirror takes their sign
_ANGLE, _ZOOM, _OFFSET = 20.0, 1.2, 0.1  # beyond these degrees, ratios of scale and shares of the side, nothing is left


class VolumeViews:
    """Two views by rotation, shift, zoom, mirror, intensity change, blur, noise and cut-out, each drawn for itself.

    Geometry is one resampling. Values are expected in [0, 1]. Each example's draws depend on seed, step and
    id alone. What a view randomises cannot be learned from it, see `randomises`.

    Args:
        rotation: Largest rotation about each axis in degrees; what leaves the volume repeats its border.
        shift: Largest shift along each axis, as a share of the volume's extent.
        scale: Zoom, from and to; above 1 shows more than the volume.
        flip_axis: Axis d, h or w (0, 1, 2) that is mirrored with probability 1/2; None mirrors none.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        gamma: Exponent, from and to.
        blur_probability: Chance of a blur of 0.1 to 1 voxels.
        noise: Largest standard deviation of added noise.
        cut_probability: Chance that a box is replaced by the volume's mean.
        cut_share: Largest share of each side that the box takes; 1/2 is an eighth of the volume.
    """

    def __init__(
        self,
        rotation: float = 10.0,
        shift: float = 0.05,
        scale: tuple[float, float] = (0.95, 1.05),
        flip_axis: int | None = None,
        brightness: float = 0.1,
        contrast: float = 0.2,
        gamma: tuple[float, float] = (0.8, 1.25),
        blur_probability: float = 0.0,
        noise: float = 0.05,
        cut_probability: float = 0.0,
        cut_share: float = 0.5,
    ):
        self.rotation = checks.not_negative("rotation", rotation)
        self.shift = checks.fraction("shift", shift)
        self.scale = checks.interval("scale", scale, 0.1, 10.0)
        self.flip_axis = checks.one_of("flip_axis", flip_axis, (None, 0, 1, 2))
        self.brightness = checks.not_negative("brightness", brightness)
        self.contrast = checks.fraction("contrast", contrast)
        self.gamma = checks.interval("gamma", gamma, 0.01, 100.0)
        self.blur_probability = checks.fraction("blur_probability", blur_probability)
        self.noise = checks.not_negative("noise", noise)
        self.cut_probability = checks.fraction("cut_probability", cut_probability)
        self.cut_share = checks.fraction("cut_share", cut_share)

    @property
    def randomises(self) -> tuple[str, ...]:
        """Attributes that these settings destroy, by word: small changes destroy nothing."""
        words: list[str] = []
        if self.flip_axis is not None:
            words += [("side", "laterality", "lr", "x"), ("ap", "y"), ("si", "z")][self.flip_axis]
            words += _TURNS
        if self.rotation > _ANGLE:
            words += _TURNS
        if self.scale[1] / self.scale[0] > _ZOOM:
            words += ["scale", "size", "radius", "volume"]
        if self.shift > _OFFSET:
            words += ["position", "offset", "x", "y", "z"]
        if self.brightness > 0.2 or self.contrast > 0.4 or self.gamma[1] / self.gamma[0] > 2:
            words += ["intensity", "brightness", "contrast"]
        return tuple(words)

    def draw(self, seed: int, number: int, ids: Tensor, shape: Sequence[int]) -> Record:
        """Two dictionaries, each entry with a row per example of `ids` (n,); `shape` is (c, d, h, w)."""
        if len(shape) != 4:
            raise ValueError(f"expected volumes (c, d, h, w), got examples of shape {tuple(shape)}; use image_views")
        return [self._draw_view(uniforms(seed, number, ids, 23, stream=301 + view), shape) for view in range(2)]

    def apply(self, images: Tensor, record: Record) -> list[Tensor]:
        """Two tensors (n, c, d, h, w)."""
        return [self._apply_view(images, view) for view in record]

    def _draw_view(self, u: Tensor, shape: Sequence[int]) -> dict[str, Tensor]:
        mirror = torch.zeros_like(u[:, :3])
        if self.flip_axis is not None:
            mirror[:, self.flip_axis] = (u[:, 7] < 0.5).float()
        extent = torch.as_tensor(shape[1:], device=u.device)
        share = (u[:, 14] < self.cut_probability).float()[:, None] * between(u[:, 15:18], 0, self.cut_share)
        width = (share * extent).round()
        first = ((extent - width) * u[:, 18:21]).round()
        return {
            "matrix": spatial.volume_affine(
                shape[1:],
                between(u[:, 0:3], -self.rotation, self.rotation),
                between(u[:, 6], *self.scale),
                2 * between(u[:, 3:6], -self.shift, self.shift),
                mirror,
            ),
            "brightness": between(u[:, 8], -self.brightness, self.brightness),
            "contrast": 1 + between(u[:, 9], -self.contrast, self.contrast),
            "gamma": between(u[:, 10], *self.gamma),
            "blur": (u[:, 11] < self.blur_probability).float() * between(u[:, 12], 0.1, 1.0),
            "noise": between(u[:, 13], 0, self.noise),
            "noise_seed": (u[:, 21] * 2**24).long() * 2**24 + (u[:, 22] * 2**24).long(),
            "box": torch.stack([first, first + width], dim=1),
        }

    def _apply_view(self, images: Tensor, view: dict[str, Tensor]) -> Tensor:
        views = spatial.resample(images, view["matrix"], images.shape[2:])
        views = intensity.blur(views, view["blur"])
        views = intensity.brighten(views, view["brightness"], view["contrast"], view["gamma"])
        if self.cut_probability > 0:
            views = intensity.cut_out(views, view["box"])
        return intensity.add_noise(views, view["noise"], view["noise_seed"])
