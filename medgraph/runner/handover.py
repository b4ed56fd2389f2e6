"""What one stage's encoder hands to the next: tensors matched by name, checked before anything is trained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medgraph import catalogue, config
from medgraph.config import parts, signature
from medgraph.config.schema import Pipeline, Stage
from medgraph.data.spec import spec_from_dict
from medgraph.errors import CheckpointError, ConfigError, DataError
from medgraph.runner import checkpoint, sees
from medgraph.runner.encoder_folder import read_facts, weights_file

_INNER = "slice_encoder."  # the part of a volume encoder that a stage on slices trains
# Arguments under which equal weights compute the same: they tell how a network starts and trains.
_TRAINING_ONLY = {"dropout", "dropout_place", "drop_path", "tokens_by_batch", "init", "attention_decay", "extract"}


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
    """Build the encoders of all stages without memory and compare; of those in folders, what their weights hold.

    Raises:
        ConfigError: With a line for each misfit.
        CheckpointError: The folder of an encoder is damaged.
    """
    built: dict[str, _Part] = {}
    mistakes: list[str] = []
    alternatives = {stage.name: list(stage.candidates.values()) or [stage] for stage in pipeline.stages.values()}
    for stage in (each for stages in alternatives.values() for each in stages):
        try:
            own, built[stage.name] = _parts_of(stage, pipeline)
        except DataError:  # no data, no shapes; the check of the data says so
            continue
        earlier = pipeline.stages.get(stage.start_from)
        if earlier is not None and earlier.kind != "train":
            mistakes.append(
                f"{stage.name}.start_from: stage {earlier.name!r} is of kind {earlier.kind!r}, which leaves no encoder "
                "to start from. Name a stage of kind 'train'."
            )
            continue
        if earlier is not None and earlier.choose is not None:
            kept = _kept_otherwise(stage, earlier)
            if kept:
                mistakes.append(f"{stage.name}.start_from: stage {earlier.name!r} {kept}")
                continue
        for start in _starts(stage.start_from, alternatives):
            if start in built or (start == stage.start_from and "/" in start):
                elsewhere = start not in built
                given = _part_in(Path(start), is_whole=stage.method is None) if elsewhere else built[start]
                key, check = ("start_from", _unseen) if stage.method is None else ("method.encoder", _misfits)
                where = f"{stage.name}.{key}: starts from {'' if elsewhere else 'stage '}{start!r}"
                mistakes += check(where, given, own)
        if stage.compare is not None and stage.compare.foreign is not None:
            foreign = _part_in(Path(stage.compare.foreign))
            where = f"{stage.name}.compare.foreign: {stage.compare.foreign!r}"
            mistakes += sees.of_another_kind(where, foreign.spec, own.spec) or _misfits(
                where, foreign, _Part(own.spec, _shapes(foreign.node, own.spec, pipeline.seed), foreign.node)
            )
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _kept_otherwise(stage: Stage, earlier: Stage) -> str:
    """Why a stage cannot go on from what an earlier one may keep in place of a network; empty where it can."""
    if earlier.choose.join and (stage.method is not None or stage.data != earlier.data):
        return (
            "may put its candidates side by side, and its encoder then sees the graph as each of them did, not as "
            f"here. Set {earlier.name}.choose.join to false."
        )
    if earlier.choose.smooth and stage.method is not None:
        return (
            "may average its features over neighbors, and no stage trains on from those. "
            f"Set {earlier.name}.choose.smooth to null."
        )
    return ""


def _starts(start: str | None, alternatives: dict[str, list[Stage]]) -> list[str]:
    """The names of the stages that may give the encoder: every candidate of a stage that chooses."""
    if start is None:
        return []
    return [stage.name for stage in alternatives[start]] if start in alternatives else [start]


@dataclass(frozen=True)
class _Part:
    """What an encoder takes, name -> shape of its tensors, and its config; none where a stage builds no encoder.

    Of a stage that scores on data of its own, the spec is theirs; where they are those it starts from, it has none.
    """

    spec: Any
    shapes: dict[str, Any]
    node: dict[str, Any]


def _parts_of(stage: Stage, pipeline: Pipeline) -> tuple[_Part, _Part]:
    """The encoder that a stage trains, and the one that it leaves: another where several members are joined."""
    seed, earlier = pipeline.seed, pipeline.stages.get(stage.start_from)
    if stage.method is None and (earlier is None or earlier.data != stage.data):
        scored = _Part(config.build(stage.data, "data", seed=seed).spec, {}, {})
        return scored, scored
    if stage.method is None or "encoder" not in stage.method:
        return _Part(None, {}, {}), _Part(None, {}, {})
    spec = config.build(stage.data, "data", seed=seed).spec
    trained = _Part(spec, _shapes(stage.method["encoder"], spec, seed), stage.method["encoder"])
    if stage.train.members == 1:
        return trained, trained
    return trained, _Part(spec, _shapes(stage.encoder, spec, seed), stage.encoder)


def _part_in(folder: Path, is_whole: bool = False) -> _Part:
    """The encoder in a folder from elsewhere, with the tensors that its weights hold, by their header alone.

    Raises:
        CheckpointError: It is damaged; or, where it is taken as a whole, a tensor is missing or too many.
    """
    told = read_facts(folder)
    spec, path = spec_from_dict(told["spec"]), weights_file(folder)
    shapes, expected = checkpoint.read_shapes(path), _shapes(told["encoder"], spec, 0)
    shared = expected.keys() & shapes.keys()
    wrong = sorted(name for name in shared if expected[name] != shapes[name])
    wrong += sorted(expected.keys() ^ shapes.keys()) if is_whole or not shared else []
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{path}: does not fit the encoder that is told beside it: {name} is {shapes.get(name, 'absent')} in the "
            f"file, expected {expected.get(name, 'no such tensor')}{_more(wrong)}. Take the folder from a copy."
        )
    return _Part(spec, shapes, told["encoder"])


def _shapes(node: dict[str, Any], spec: Any, seed: int) -> dict[str, Any]:
    with torch.device("meta"):
        encoder = config.build(node, "encoders", spec=spec, seed=seed)
    return {name: tuple(value.shape) for name, value in encoder.state_dict().items()}


def _unseen(where: str, there: _Part, here: _Part) -> list[str]:
    """What keeps an encoder from being scored on the data of a stage."""
    return [] if there.spec is None or here.spec is None else sees.unlike(where, there.spec, here.spec)


def _misfits(where: str, there: _Part, here: _Part) -> list[str]:
    given, own = there.shapes, here.shapes
    if not given or not own:
        return []
    unseen = sees.unlike_summed(where, there.spec, here.spec)
    if unseen:
        return unseen
    new_names = renamed(given, own)
    if not set(new_names.values()) & own.keys():
        names = f"({there.node['name']} there, {here.node['name']} here)"
        return [f"{where}, whose encoder shares no tensor with it {names}. Give both stages the same encoder."]
    wrong = [
        f"{new} has shape {given[name]} there and {own[new]} here"
        for name, new in new_names.items()
        if new in own and given[name] != own[new] and not fits_summed(given[name], own[new])
    ]
    if wrong:
        return [f"{where}, but {wrong[0]}{_more(wrong)}. Give both the same depth, width and stem."]
    differing = _differences(*_same_part(there.node, here.node))
    if differing:
        told = f"{differing[0]}{_more(differing)}"
        return [f"{where}, but {told}: its weights would compute something else. Give both the same encoder."]
    return []


def _more(found: Sequence[str]) -> str:
    return f" ({len(found) - 1} more)" if len(found) > 1 else ""


def _same_part(there: dict[str, Any], here: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two configs say of the part that is handed over: of a slice and a volume encoder, the slice encoder."""
    key = _INNER.removesuffix(".")
    if (key in there) == (key in here):
        return there, here
    return there.get(key, there), here.get(key, here)


def _differences(there: dict[str, Any], here: dict[str, Any], kind: str = "encoders", path: str = "") -> list[str]:
    """A line for each argument in which two parts differ, those aside that are for training only."""
    if there["name"] != here["name"]:
        return [f"{parts.join(path, 'name')} is {there['name']!r} there and {here['name']!r} here"]
    found = []
    for key, parameter in signature.read(catalogue.path(kind, here["name"])).settable.items():
        given, own = (node.get(key, parts.plain_default(parameter)) for node in (there, here))
        where = parts.join(path, key)
        first, second = (value if isinstance(value, list) else [value] for value in (given, own))
        if parameter.annotation is None and given and own and len(first) == len(second):  # parts, one or several
            for index, pair in enumerate(zip(first, second, strict=True)):
                place = parts.join(where, index) if isinstance(given, list) else where
                found += _differences(*pair, catalogue.kind_of_key(key) or "", place)
        elif key not in _TRAINING_ONLY and given != own:
            found.append(f"{where} is {given!r} there and {own!r} here")
    return found
