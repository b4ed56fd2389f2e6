"""Prepares a volume for an exported encoder. Goes into MONAI bundles as it is: needs numpy and torch alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional


class Prepare:
    """A volume in RAS order -> slices, or a volume, as the encoder saw them: resampled, clipped, scaled, cut.

    Args:
        axis: Axis that is sliced along; None keeps the volume in one piece.
        size: Height and width of a slice; voxels of a volume, None as many as it has.
        fit: How that size is reached: "pad" crops and pads around the centre, "crop" only crops, "resize" interpolates;
            None takes no other size.
        percentiles: Intensities are clipped to these two percentiles before scaling.
        score_range: Standard scores that become 0 and 1.
        spacing: Millimetres to resample to; None keeps an axis, or all of them.
        channels: Equal channels of an image.
        stacked: The encoder takes whole stacks of slices.
        num_slices: Slices of a stack, at equal distances; None takes all.
        upright: Slices lie as viewers show them; else rows and columns are the other two axes as they come.
    """

    def __init__(
        self,
        axis: int | None,
        size: Sequence[int] | None,
        fit: str | None,
        percentiles: Sequence[float],
        score_range: Sequence[float],
        spacing: Sequence[float | None] | None,
        channels: int,
        stacked: bool,
        num_slices: int | None = None,
        upright: bool = False,
    ):
        self.axis, self.size, self.fit = axis, None if size is None else tuple(size), fit
        self.percentiles, self.score_range, self.spacing = tuple(percentiles), tuple(score_range), spacing
        self.channels, self.stacked, self.num_slices, self.upright = channels, stacked, num_slices, upright

    def __call__(self, image: Any) -> torch.Tensor:
        """`image`: (1, d, h, w) with `affine`, as MONAI's LoadImage and Orientation leave it."""
        millimetres = torch.as_tensor(image.affine)[:3, :3].double().norm(dim=0).tolist()
        voxels = torch.as_tensor(np.asarray(image[0], dtype=np.float32))
        if self.spacing is not None:
            pairs = zip(voxels.shape, millimetres, self.spacing, strict=True)
            shape = [n if want is None else max(1, round(n * have / want)) for n, have, want in pairs]
            voxels = functional.interpolate(voxels[None, None], size=shape, mode="trilinear", align_corners=False)[0, 0]
        values = voxels.numpy()
        low, high = np.percentile(values, self.percentiles)
        clipped = np.clip(values.astype(np.float64), low, high)
        scores = (clipped - clipped.mean()) / clipped.std()
        first, last = self.score_range
        scaled = torch.from_numpy(np.clip((scores - first) / (last - first), 0, 1).astype(np.float32))
        if self.axis is None:
            return self._fitted(scaled[None])[None]
        planes = scaled.movedim(self.axis, 0)
        planes = planes.transpose(1, 2).flip(1, 2) if self.upright else planes
        slices = self._fitted(planes)[:, None].repeat(1, self.channels, 1, 1)
        if self.num_slices is not None:
            count = len(slices)
            if count < self.num_slices:
                raise ValueError(f"the volume has {count} slices along axis {self.axis}, expected {self.num_slices}")
            slices = slices[(torch.arange(self.num_slices) * 2 + 1) * count // (2 * self.num_slices)]
        return slices[None] if self.stacked else slices

    def _fitted(self, images: torch.Tensor) -> torch.Tensor:
        """Slices `(n, h, w)`, or one volume `(1, d, h, w)`, of the size that is asked for."""
        have = tuple(images.shape[1:])
        if self.size is None or have == self.size:
            return images
        if self.fit == "resize":
            return functional.interpolate(images[None], size=self.size, mode="trilinear", align_corners=False)[0]
        if self.fit is None or (self.fit == "crop" and any(a < b for a, b in zip(have, self.size, strict=True))):
            raise ValueError(f"the volume has {have} voxels, expected {self.size}" + (" or more" if self.fit else ""))
        whole = torch.zeros(len(images), *self.size)
        source, target = [slice(None)], [slice(None)]
        for a, b in zip(have, self.size, strict=True):
            length = min(a, b)
            source.append(slice((a - length) // 2, (a - length) // 2 + length))
            target.append(slice((b - length) // 2, (b - length) // 2 + length))
        whole[tuple(target)] = images[tuple(source)]
        return whole


def write_features(
    network: Callable[[torch.Tensor], torch.Tensor], prepare: Callable[[Any], Any], image: str, out: str
) -> None:
    """Write the features of an image file to `out` as .npy, a row for each slice or one for the volume."""
    with torch.no_grad():
        features = network(prepare(image))
    Path(out).mkdir(parents=True, exist_ok=True)
    path = Path(out) / (Path(image).name.split(".")[0] + ".npy")
    np.save(path, features.numpy())
    print(f"{image}: {tuple(features.shape)} -> {path}")
