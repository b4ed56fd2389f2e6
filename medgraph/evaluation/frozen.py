"""Features of whole images or volumes by a frozen encoder."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.errors import ConfigError, DataError


@torch.no_grad()
def frozen_features(encoder: Any, dataset: Any, batch_size: int, device: str, cells: int = 0) -> np.ndarray:
    """Features (n, d), float64, of every example of a dataset; of a volume encoder, those of its slice encoder where an
    example is a single image.

    Args:
        encoder: On `device` and in eval mode.
        dataset: Gives batches with `images`.
        batch_size: Examples encoded at once.
        device: Where to compute.
        cells: 0 takes the vector that the encoder gives. Else all maps of its pyramid, side by side, each averaged in
            so many cells along every axis: fine detail as well, and where it lies.

    Raises:
        ConfigError: `cells` of an encoder that gives one vector of a whole stack and no maps.
        DataError: A feature is not finite.
    """
    starts = range(0, len(dataset), batch_size)
    if getattr(encoder, "takes_stacks", False) and dataset.__getitems__([0]).images.ndim == 4:
        encoder = encoder.slice_encoder
    if cells and not hasattr(encoder, "pyramid_dims"):
        raise ConfigError(
            f"evaluator.cells: {type(encoder).__name__} gives one vector of an example and no maps to read in cells; "
            "expected 0."
        )
    batches = (dataset.__getitems__(range(i, min(i + batch_size, len(dataset)))) for i in starts)
    read = (_in_cells(encoder, batch.images.to(device), cells) for batch in batches)
    return finite(torch.cat([features.float().cpu() for features in read]).double().numpy())


def finite(features: np.ndarray) -> np.ndarray:
    """The features (n, d) as they are. Raises DataError where one is NaN or infinite."""
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        raise DataError(
            f"encoder: gives {len(wrong)} of {len(features)} examples, the first number {wrong[0]}, features of NaN or "
            "infinity, expected finite numbers. Did the training diverge? Lower its learning rate."
        )
    return features


def _in_cells(encoder: Any, images: Tensor, cells: int) -> Any:
    """The encoder's vectors (n, d), or its maps in `cells` along each axis, fewer where a map has fewer points."""
    if not cells:
        return encoder(images)
    pooled = [
        F.interpolate(each, size=[min(cells, side) for side in each.shape[2:]], mode="area")
        for each in encoder.pyramid(images)
    ]
    return torch.cat([each.flatten(1) for each in pooled], dim=1)
