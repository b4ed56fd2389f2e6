"""ImageViews: two views of each 2D image, one channel or three."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph import checks
from medgraph.transforms import intensity, spatial
from medgraph.transforms.draws import between, uniforms

Record = list[dict[str, Tensor]]

_TURNS = ("rotation", "orientation", "angle")  # a mirror takes their sign
_ANGLE, _ZOOM, _OFFSET = 20.0, 1.2, 0.1  # beyond these degrees, ratios of scale and shares of the side, nothing is left


class ImageViews:
    """Two views by crop, rotation, flip, intensity and color change, blur and noise, each drawn for itself.

    Geometry is one resampling. Values are expected in [0, 1]. Each example's draws depend on seed, step and
    id alone. What a view randomises cannot be learned from it, see `randomises`.

    Args:
        size: Height and width of a view; None keeps the image's.
        area: Share of the image's area that a view covers, from and to.
        aspect: Largest stretch of one side against the other.
        rotation: Largest rotation in degrees; corners that leave the image repeat its border.
        flip_probability: Chance of a left-right mirror.
        change_probability: Chance that brightness, contrast and saturation change.
        brightness: Largest shift of the values.
        contrast: Largest change of the spread, as a share.
        saturation: Largest change of the color's strength, as a share; for images of three channels.
        gray_probability: Chance of losing all color; for images of three channels.
        blur_probability: Chance of a blur of 0.1 to 1 pixels.
        noise: Largest standard deviation of added noise.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        area: tuple[float, float] = (0.5, 1.0),
        aspect: float = 1.333,
        rotation: float = 0.0,
        flip_probability: float = 0.0,
        change_probability: float = 0.8,
        brightness: float = 0.2,
        contrast: float = 0.4,
        saturation: float = 0.0,
        gray_probability: float = 0.0,
        blur_probability: float = 0.0,
        noise: float = 0.02,
    ):
        self.size = None if size is None else tuple(checks.at_least("size", side, 1) for side in size)
        self.area = checks.interval("area", area, 0.01, 1.0)
        self.aspect = checks.at_least("aspect", aspect, 1.0)
        self.rotation = checks.not_negative("rotation", rotation)
        self.flip_probability = checks.fraction("flip_probability", flip_probability)
        self.change_probability = checks.fraction("change_probability", change_probability)
        self.brightness = checks.not_negative("brightness", brightness)
        self.contrast = checks.fraction("contrast", contrast)
        self.saturation = checks.fraction("saturation", saturation)
        self.gray_probability = checks.fraction("gray_probability", gray_probability)
        self.blur_probability = checks.fraction("blur_probability", blur_probability)
        self.noise = checks.not_negative("noise", noise)

    @property
    def randomises(self) -> tuple[str, ...]:
        """Attributes that these settings destroy, by word: small changes destroy nothing."""
        low, high = self.area
        words: list[str] = []
        if self.flip_probability > 0:
            words += ["side", "laterality", "lr", "x", *_TURNS]
        if self.rotation > _ANGLE:
            words += _TURNS
        if math.sqrt(high / low) > _ZOOM:
            words += ["scale", "size", "radius", "volume"]
        if (1 - math.sqrt(low)) / 2 > _OFFSET:
            words += ["position", "offset", "x", "y"]
        if self.change_probability > 0 and max(self.brightness, self.contrast) > 0.1:
            words += ["intensity", "brightness", "contrast"]
        if self.saturation > 0 or self.gray_probability > 0:
            words += ["color"]
        return tuple(words)

    def draw(self, seed: int, number: int, ids: Tensor, shape: Sequence[int]) -> Record:
        """Two dictionaries, each entry with a row per example of `ids` (n,); `shape` is (c, h, w)."""
        if len(shape) != 3:
            raise ValueError(f"expected images (c, h, w), got examples of shape {tuple(shape)}; use volume_views")
        if shape[0] != 3 and (self.saturation > 0 or self.gray_probability > 0):
            raise ValueError(
                f"saturation, gray_probability: are for 3 channels, the images have {shape[0]}; set both to 0"
            )
        return [self._draw_view(uniforms(seed, number, ids, 17, stream=201 + view), shape) for view in range(2)]

    def apply(self, images: Tensor, record: Record) -> list[Tensor]:
        """Two tensors (n, c, *size)."""
        return [self._apply_view(images, view) for view in record]

    def _draw_view(self, u: Tensor, shape: Sequence[int]) -> dict[str, Tensor]:
        area = between(u[:, 0], *self.area)
        aspect = torch.exp(between(u[:, 1], -1, 1) * math.log(self.aspect))
        scale_y, scale_x = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
        changed = (u[:, 6] < self.change_probability).float()
        colored = (u[:, 15] >= self.gray_probability).float()
        return {
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
            "saturation": colored * (1 + changed * between(u[:, 9], -self.saturation, self.saturation)),
            "blur": (u[:, 10] < self.blur_probability).float() * between(u[:, 11], 0.1, 1.0),
            "noise": between(u[:, 12], 0, self.noise),
            "noise_seed": (u[:, 13] * 2**24).long() * 2**24 + (u[:, 14] * 2**24).long(),
        }

    def _apply_view(self, images: Tensor, view: dict[str, Tensor]) -> Tensor:
        views = spatial.resample(images, view["matrix"], self.size or images.shape[2:])
        views = intensity.blur(views, view["blur"])
        if images.shape[1] == 3:
            views = intensity.saturate(views, view["saturation"])
        views = intensity.brighten(views, view["brightness"], view["contrast"], torch.ones_like(view["contrast"]))
        return intensity.add_noise(views, view["noise"], view["noise_seed"])
