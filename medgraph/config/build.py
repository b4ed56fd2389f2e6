"""Checked part + catalogue -> object; constructor errors get file, line and key in front."""

import math
import os
from collections.abc import Iterator
from typing import Any

from medgraph import catalogue
from medgraph.config import parts, signature
from medgraph.config.schema import Pipeline, Stage
from medgraph.errors import ConfigError, DataError, MedgraphError


def build(
    node: dict[str, Any],
    kind: str,
    *,
    spec: Any = None,
    seed: int | None = None,
    path: str = "",
    origins: dict[str, str] | None = None,
) -> Any:
    """The object that a checked part describes, its own parts first.

    Args:
        node: Checked part: "name" and every argument; one that another version stored may lack arguments with defaults.
        kind: Table of the catalogue.
        spec: Fills every parameter called `spec`.
        seed: Fills every parameter called `seed`.
        path: Key path of the part, for messages.
        origins: Place in a file of every key path, for messages.
    """
    target = signature.read(catalogue.path(kind, node["name"]))
    arguments: dict[str, Any] = {
        key: value for key, value in (("spec", spec), ("seed", seed)) if key in target.parameters
    }
    for name, parameter in target.settable.items():
        if name not in node and parameter.required:
            raise ConfigError(f"{parts.join(path, name)}: {target.class_name} needs it, but it was not stored.")
        value = node.get(name, parts.plain_default(parameter))  # stored before the parameter existed: its default
        if parameter.annotation is not None:
            arguments[name] = parts.convert(parameter, value)
        elif value is None:
            arguments[name] = None
        else:
            arguments[name] = _build_nested(value, name, spec, seed, parts.join(path, name), origins)
    try:
        return catalogue.find(kind, node["name"])(**arguments)
    except MedgraphError:
        raise
    except ValueError as error:
        raise ConfigError(_located(str(error), target.class_name, arguments, path, origins or {})) from error
    except (TypeError, OverflowError, RuntimeError) as error:  # of torch for a size it cannot take, and a trace below
        message = str(error).partition("\n")[0]
        raise ConfigError(_located(message, target.class_name, arguments, path, origins or {})) from error


def dry_build(pipeline: Pipeline) -> list[str]:
    """Build every part without memory, on the meta device.

    Returns one note per stage whose data are not there, so that it was not checked against them.

    Raises:
        ConfigError: Values do not work together, or do not fit the data, or the data are there and cannot be used.
    """
    notes, mistakes = [], []
    for stage in pipeline.stages.values():
        try:
            for each in (stage, *stage.candidates.values()):
                _dry_build_stage(each, pipeline)
        except DataError as error:
            place, is_absent = _place_of_data(stage, str(error), pipeline.origins)
            if is_absent:
                notes.append(f"{place}: data not found: {error}")
            else:
                mistakes.append(f"{place}: {error}")
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(parts.once(mistakes)))
    return notes


def _dry_build_stage(stage: Stage, pipeline: Pipeline) -> None:
    import torch  # the only need of torch in this room, and only here

    settings: dict[str, Any] = {"seed": pipeline.seed, "origins": pipeline.origins}
    if stage.evaluator is not None:
        build(stage.evaluator, "evaluators", path=f"{stage.name}.evaluator", **settings)
    if stage.train is not None:
        build(stage.train.optimizer, "optimizers", path=f"{stage.name}.train.optimizer", **settings)
        build(stage.train.schedule, "schedules", path=f"{stage.name}.train.schedule", **settings)
    if stage.choose is not None:
        place = f"{stage.name}.choose.evaluator"
        if not hasattr(build(stage.choose.evaluator, "evaluators", path=place, **settings), "validate"):
            raise ConfigError(
                f"{_placed(place, pipeline.origins)}: {stage.choose.evaluator['name']} cannot score validation alone; "
                "to choose, take node_probe, node_clusters or node_embedding"
            )
        _check_kept(stage, pipeline.origins)
    assert stage.data is not None
    data = build(stage.data, "data", path=f"{stage.name}.data", **settings)
    try:
        spec = data.spec
    except ConfigError as error:
        located = str(error).partition(": ")[0] in stage.data
        where = (f"{stage.name}.data", pipeline.origins)
        raise ConfigError(_located(str(error), "", stage.data, *where) if located else str(error)) from error
    if stage.compare is not None:
        _check_counts(stage, data, pipeline.origins)
    if stage.train is not None:
        _check_batch_size(stage, data, pipeline)
        _check_self_training(stage, data, pipeline.origins)
    if stage.method is not None:
        with torch.device("meta"):
            method = build(stage.method, "methods", spec=spec, path=f"{stage.name}.method", **settings)
        if stage.train.members > 1 and stage.evaluator is not None and not hasattr(method, "predict"):
            place = _placed(f"{stage.name}.evaluator", pipeline.origins)
            raise ConfigError(
                f"{place}: {stage.method['name']} leaves no model for its members to answer together, only encoders; "
                "score those in a stage of kind 'evaluate', or set train.members to 1"
            )


def _check_kept(stage: Stage, origins: dict[str, str]) -> None:
    """Raise ConfigError where candidates cannot be put side by side, or smoothed, before hours are spent."""
    kinds = {(each.data["name"], each.method["encoder"]["name"]) for each in stage.candidates.values()}
    told = ", ".join(f"{encoder} on {data}" for data, encoder in sorted(kinds))
    whole = {data for data, _ in kinds} == {"metapath_views"}
    if stage.choose.join and (len(kinds) > 1 or not whole):
        raise ConfigError(
            f"{_placed(f'{stage.name}.choose.join', origins)}: expected candidates with one kind of encoder, on "
            f"metapath_views, to put side by side; got {told}. Set it to false."
        )
    if stage.choose.smooth and not whole:
        raise ConfigError(
            f"{_placed(f'{stage.name}.choose.smooth', origins)}: expected candidates on metapath_views, whose features "
            f"are of a whole graph; got {told}. Set it to null."
        )


def _check_counts(stage: Stage, data: Any, origins: dict[str, str]) -> None:
    """Raise ConfigError where the data of a compare stage cannot give so many labels, before hours are spent."""
    place = _placed(f"{stage.name}.compare.num_labelled", origins)
    if not hasattr(data, "check_num_labelled"):
        raise ConfigError(
            f"{place}: has no effect on the data {stage.data['name']!r}, whose labels are not counted. Take data with "
            "the key num_labelled, or a train stage."
        )
    if stage.data.get("num_labelled") is not None:
        place = _placed(f"{stage.name}.data.num_labelled", origins)
        raise ConfigError(f"{place}: has no effect, as compare.num_labelled says how many; remove this line.")
    for num_labelled in stage.compare.num_labelled:
        try:
            if num_labelled != "all":
                data.check_num_labelled(num_labelled)
        except DataError as error:
            raise ConfigError(f"{place}: {error}") from error


def _check_self_training(stage: Stage, data: Any, origins: dict[str, str]) -> None:
    """Raise ConfigError where there is nothing that a network of the stage could label for the next one."""
    if not stage.train.self_training:
        return
    place = _placed(f"{stage.name}.train.self_training", origins)
    if not hasattr(data, "with_labels"):
        raise ConfigError(
            f"{place}: has no effect on the data {stage.data['name']!r}; a network labels volumes for the next one in "
            "labelled_slices, labelled_stacks and labelled_volumes. Remove this line."
        )
    counted = stage.compare is not None and any(number != "all" for number in stage.compare.num_labelled)
    if not counted and not data.unlabelled_cases():
        raise ConfigError(
            f"{place}: has no effect, as the labels of all training volumes are used. Lower num_labelled, or add "
            "volumes without a label and set data.without_label to leave."
        )


def _check_batch_size(stage: Stage, data: Any, pipeline: Pipeline) -> None:
    """Raise ConfigError where one batch takes more examples than the data can give for training."""
    wanted, given, labelled = stage.train.batch_size, _num_training(data), ""
    counts = [] if stage.compare is None else [count for count in stage.compare.num_labelled if count != "all"]
    for kind in (int, float) if hasattr(data.spec, "num_examples") else ():  # of each, the least gives the fewest
        for count in sorted(count for count in counts if isinstance(count, kind))[:1]:
            few = _num_training(build({**stage.data, "num_labelled": count}, "data", seed=pipeline.seed))
            given, labelled = (few, f" with {count} labelled") if few < given else (given, labelled)
    if wanted > given:
        raise ConfigError(
            f"{_placed(f'{stage.name}.train.batch_size', pipeline.origins)}: one batch takes {wanted}, but the data "
            f"have {given} training example{'' if given == 1 else 's'}{labelled}. Lower it, or give more data."
        )


def _num_training(data: Any) -> float:
    """Training examples that the data have at most; no limit where they tell of none."""
    spec = getattr(data, "volume_data", data).spec  # beside images, batches are of volumes
    if hasattr(spec, "node_counts"):
        return spec.node_counts[spec.target_type] if getattr(spec, "is_batched", False) else 1  # the whole graph
    return getattr(spec, "num_examples", math.inf)


def _place_of_data(stage: Stage, message: str, origins: dict[str, str]) -> tuple[str, bool]:
    """Where the config names the data that a message begins with, and whether those are missing on disk."""
    path, named = f"{stage.name}.data", ""
    for key, text in _texts(stage.data, path):
        file = os.path.expanduser(text)
        if len(file) > len(named) and message.startswith(file) and message[len(file) :][:1] in ("", ":", ",", "/"):
            path, named = key, file
    is_absent = named != "" and not os.path.exists(named)
    return _placed(path, origins), is_absent


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text below a key, with its key path."""
    if isinstance(value, str):
        yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _texts(item, parts.join(path, key))


def _placed(path: str, origins: dict[str, str]) -> str:
    """A key path with its place in a file in front; that of the nearest key above where a default was taken."""
    above = path
    while above and above not in origins:
        above = above.rpartition(".")[0]
    return f"{origins[above]}: {path}" if above else path


def _build_nested(node: Any, key: str, spec: Any, seed: int | None, path: str, origins: dict[str, str] | None) -> Any:
    kind = catalogue.kind_of_key(key)
    assert kind is not None
    if isinstance(node, list):
        of_each = list(getattr(spec, "parts", ())) if kind == "encoders" else []  # they may see a graph in several ways
        specs = of_each if len(of_each) == len(node) else [spec] * len(node)
        return [
            build(item, kind, spec=own, seed=seed, path=parts.join(path, index), origins=origins)
            for index, (item, own) in enumerate(zip(node, specs, strict=True))
        ]
    return build(node, kind, spec=spec, seed=seed, path=path, origins=origins)


def _located(message: str, class_name: str, arguments: dict[str, Any], path: str, origins: dict[str, str]) -> str:
    key, colon, rest = message.partition(": ")
    if colon and key in arguments:
        path, message = parts.join(path, key), rest
    place = origins.get(path) or origins.get(path.rpartition(".")[0])
    return ": ".join(piece for piece in (place, path or class_name, message) if piece)
