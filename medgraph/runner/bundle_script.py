"""Prepares a volume for an exported encoder. Goes into MONAI bundles as it is: needs numpy and torch alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional


class Prepare:
    """A volume in RAS order -> slices as the encoder saw them: resampled, clipped, scaled, cut.

    Args:
        axis: Axis that is sliced along.
        size: Height and width of a slice, by centre crop and padding.
        percentiles: Intensities are clipped to these two percentiles before scaling.
        spacing: Millimetres to resample to; None keeps the voxels.
        stacked: The encoder takes whole stacks of slices.
    """

    def __init__(
        self,
        axis: int,
        size: Sequence[int],
        percentiles: Sequence[float],
        spacing: Sequence[float] | None,
        stacked: bool,
    ):
        self.axis, self.size, self.percentiles = axis, tuple(size), tuple(percentiles)
        self.spacing, self.stacked = spacing, stacked

    def __call__(self, image: Any) -> torch.Tensor:
        """`image`: (1, d, h, w) with `affine`, as MONAI's LoadImage and Orientation leave it."""
        millimetres = torch.as_tensor(image.affine)[:3, :3].double().norm(dim=0).tolist()
        voxels = torch.as_tensor(np.asarray(image[0], dtype=np.float32))
        if self.spacing is not None:
            pairs = zip(voxels.shape, millimetres, self.spacing, strict=True)
            shape = [max(1, round(n * have / want)) for n, have, want in pairs]
            voxels = functional.interpolate(voxels[None, None], size=shape, mode="trilinear", align_corners=False)[0, 0]
        values = voxels.numpy()
        low, high = np.percentile(values, self.percentiles)
        clipped = np.clip(values.astype(np.float64), low, high)
        scores = (clipped - clipped.mean()) / clipped.std()
        scaled = torch.from_numpy(np.clip((scores + 3) / 6, 0, 1).astype(np.float32)).movedim(self.axis, 0)
        slices = torch.zeros(len(scaled), 1, *self.size)
        source, target = [], []
        for have, want in zip(scaled.shape[1:], self.size, strict=True):
            length = min(have, want)
            source.append(slice((have - length) // 2, (have - length) // 2 + length))
            target.append(slice((want - length) // 2, (want - length) // 2 + length))
        slices[:, 0, target[0], target[1]] = scaled[:, source[0], source[1]]
        return slices[None] if self.stacked else slices


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
