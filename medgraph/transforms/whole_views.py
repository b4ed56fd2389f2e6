"""What methods ask of views of whole examples: that they can be drawn for the images or volumes that the data give."""

from typing import Any

import torch

from medgraph.data.spec import ImageSpec


def check_whole_views(spec: ImageSpec, views: Any, key: str = "views") -> None:
    """Raise ValueError, which names the `key`, where `views` do not suit examples as `spec` has them."""
    if getattr(views, "takes_stacks", False):
        whole = "images" if spec.spatial_dims == 2 else "volumes"
        raise ValueError(f"{key}: {type(views).__name__} are for stacks of slices, expected views of single {whole}.")
    try:
        views.draw(0, 0, torch.zeros(1, dtype=torch.long, device="cpu"), (spec.channels, *spec.size))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
