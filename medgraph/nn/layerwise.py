"""Layer-wise learning rates: the nearer a layer is to the image, the less it moves."""

from typing import Any

from torch import nn

from medgraph import checks


def layerwise_groups(encoder: nn.Module, lr_scale: float, layer_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups of an encoder: its last level has the factor lr_scale, each one before it layer_decay times it.

    Clark et al., 2020, arXiv:2003.10555, App. A, where layers of a transformer are meant; here levels of the pyramid.

    Args:
        encoder: With `levels()`, its modules from the image on, unless layer_decay is 1.
        lr_scale: Factor on the learning rate of the last level.
        layer_decay: In (0, 1]; 1 gives all levels the same rate.

    Raises:
        ValueError: The encoder names no levels, so that it has no order to decay along.
    """
    checks.between("layer_decay", layer_decay, 0.01, 1.0)
    if layer_decay == 1.0:
        return [{"params": list(encoder.parameters()), "lr_scale": lr_scale}]
    named: Any = encoder
    if not hasattr(encoder, "levels"):
        raise ValueError(f"layer_decay: {type(encoder).__name__} names no levels to decay along; set it to 1.")
    levels = [[p for module in modules for p in module.parameters()] for modules in named.levels()]
    missed = {id(p) for p in encoder.parameters()} ^ {id(p) for level in levels for p in level}
    assert not missed, f"{type(encoder).__name__}.levels leaves parameters out"
    last = len(levels) - 1
    return [
        {"params": level, "lr_scale": lr_scale * layer_decay ** (last - number)}
        for number, level in enumerate(levels)
        if level
    ]
