"""Features of whole images or volumes by a frozen encoder."""

from typing import Any

import numpy as np
import torch


@torch.no_grad()
def frozen_features(encoder: Any, dataset: Any, batch_size: int, device: str) -> np.ndarray:
    """Features (n, d), float64, of every example of a dataset; of a volume encoder, those of its slice encoder where an
    example is a single image.

    Args:
        encoder: On `device` and in eval mode.
        dataset: Gives batches with `images`.
        batch_size: Examples encoded at once.
        device: Where to compute.
    """
    starts = range(0, len(dataset), batch_size)
    if getattr(encoder, "takes_stacks", False) and dataset.__getitems__([0]).images.ndim == 4:
        encoder = encoder.slice_encoder
    batches = (dataset.__getitems__(range(i, min(i + batch_size, len(dataset)))) for i in starts)
    return torch.cat([encoder(batch.images.to(device)).float().cpu() for batch in batches]).double().numpy()
