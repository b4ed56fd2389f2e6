"""What one stage's encoder hands to the next: tensors matched by name, checked before anything is trained."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from medgraph import config
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import ConfigError, DataError

_INNER = "slice_encoder."  # the part of a volume encoder that a stage on slices trains


def renamed(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Names of an exported encoder -> those of the model. A slice encoder enters a volume encoder, and leaves it."""
    names, inside = list(names), any(name.startswith(_INNER) for name in own)
    if inside == any(name.startswith(_INNER) for name in names):
        return {name: name for name in names}
    return {name: _INNER + name if inside else name.removeprefix(_INNER) for name in names}


def fits_summed(given: Sequence[int], own: Sequence[int]) -> bool:
    """Whether a kernel over three equal channels fits one over a single channel, once its channels are summed."""
    return len(given) > 2 and given[1] == 3 and own[1] == 1 and (*given[:1], *given[2:]) == (*own[:1], *own[2:])


def check_handovers(pipeline: Pipeline) -> None:
    """Build the encoders of all stages without memory and compare. Raises ConfigError with a line for each misfit."""
    shapes: dict[str, dict[str, Any]] = {}
    mistakes = []
    for stage in pipeline.stages.values():
        try:
            shapes[stage.name] = _shapes(stage, pipeline.seed)
        except DataError:  # no data, no shapes; the check of the data says so
            continue
        if stage.start_from in shapes:
            mistakes += _misfits(stage, shapes[stage.start_from], shapes[stage.name])
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _shapes(stage: Stage, seed: int) -> dict[str, Any]:
    """Name -> shape of every tensor of a stage's encoder; none where the stage builds no encoder."""
    if stage.method is None or "encoder" not in stage.method:
        return {}
    spec = config.build(stage.data, "data", seed=seed).spec
    with torch.device("meta"):
        encoder = config.build(stage.method["encoder"], "encoders", spec=spec, seed=seed)
    return {name: tuple(value.shape) for name, value in encoder.state_dict().items()}


def _misfits(stage: Stage, given: dict[str, Any], own: dict[str, Any]) -> list[str]:
    if not given or not own:
        return []
    names = renamed(given, own)
    where = f"{stage.name}.method.encoder: starts from stage {stage.start_from!r}"
    if not set(names.values()) & own.keys():
        return [f"{where}, whose encoder shares no tensor with it. Give both stages the same encoder."]
    wrong = [
        f"{new} has shape {given[name]} there and {own[new]} here"
        for name, new in names.items()
        if new in own and given[name] != own[new] and not fits_summed(given[name], own[new])
    ]
    rest = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return [f"{where}, but {wrong[0]}{rest}. Give both the same depth, width and stem."] if wrong else []
