"""What methods ask of views of whole examples: that they can be drawn for the images or volumes that the data give."""

from typing import Any

import torch

from medgraph.data.spec import ImageSpec


def check_whole_views(spec: ImageSpec, views: Any, key: str = "views", labelled: bool = False) -> None:
    """Raise ValueError, which names the `key`, where `views` do not suit examples as `spec` has them, or their labels
    where examples are `labelled` voxel by voxel."""
    name, whole = type(views).__name__, "images" if spec.spatial_dims == 2 else "volumes"
    if getattr(views, "takes_stacks", False):
        raise ValueError(f"{key}: {name} are for stacks of slices, expected views of single {whole}.")
    if getattr(views, "takes_labels", False) != labelled:
        augment = "segmentation_augment" if spec.spatial_dims == 2 else "volume_segmentation_augment"
        fit = f"an augmentation of {whole} and their label maps, {augment}" if labelled else f"views of {whole} alone"
        raise ValueError(f"{key}: expected {fit}, got {name}.")
    try:
        views.draw(0, 0, torch.zeros(1, dtype=torch.long, device="cpu"), (spec.channels, *spec.size))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
