"""Checked part + catalogue -> object; constructor errors get file, line and key in front."""

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
    except (ValueError, TypeError) as error:
        raise ConfigError(_located(str(error), target.class_name, arguments, path, origins or {})) from error


def dry_build(pipeline: Pipeline) -> list[str]:
    """Build every part without memory, on the meta device. Raises ConfigError for values that do not work together.

    Returns one note per stage whose data could not be read, so that its value checks were skipped.
    """
    notes, mistakes = [], []
    for stage in pipeline.stages.values():
        try:
            _dry_build_stage(stage, pipeline)
        except DataError as error:
            notes.append(f"{stage.name}: checks of the method against the data were skipped: {error}")
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(dict.fromkeys(mistakes)))
    return notes


def _dry_build_stage(stage: Stage, pipeline: Pipeline) -> None:
    import torch  # the only need of torch in this room, and only here

    settings: dict[str, Any] = {"seed": pipeline.seed, "origins": pipeline.origins}
    if stage.evaluator is not None:
        build(stage.evaluator, "evaluators", path=f"{stage.name}.evaluator", **settings)
    if stage.train is not None:
        build(stage.train.optimizer, "optimizers", path=f"{stage.name}.train.optimizer", **settings)
        build(stage.train.schedule, "schedules", path=f"{stage.name}.train.schedule", **settings)
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
    if stage.method is not None:
        with torch.device("meta"):
            build(stage.method, "methods", spec=spec, path=f"{stage.name}.method", **settings)


def _check_counts(stage: Stage, data: Any, origins: dict[str, str]) -> None:
    """Raise ConfigError where the data of a compare stage cannot give so many labels, before hours are spent."""
    path = f"{stage.name}.compare.num_labelled"
    place = f"{origins[path]}: {path}" if path in origins else path
    if not hasattr(data, "check_num_labelled"):
        raise ConfigError(
            f"{place}: has no effect on the data {stage.data['name']!r}, whose labels are not counted. Take data with "
            "the key num_labelled, or a train stage."
        )
    if stage.data.get("num_labelled") is not None:
        key = f"{stage.name}.data.num_labelled"
        place = f"{origins[key]}: {key}" if key in origins else key
        raise ConfigError(f"{place}: has no effect, as compare.num_labelled says how many; remove this line.")
    for num_labelled in stage.compare.num_labelled:
        try:
            if num_labelled != "all":
                data.check_num_labelled(num_labelled)
        except DataError as error:
            raise ConfigError(f"{place}: {error}") from error


def _build_nested(node: Any, key: str, spec: Any, seed: int | None, path: str, origins: dict[str, str] | None) -> Any:
    kind = catalogue.kind_of_key(key)
    assert kind is not None
    if isinstance(node, list):
        return [
            build(item, kind, spec=spec, seed=seed, path=parts.join(path, index), origins=origins)
            for index, item in enumerate(node)
        ]
    return build(node, kind, spec=spec, seed=seed, path=path, origins=origins)


def _located(message: str, class_name: str, arguments: dict[str, Any], path: str, origins: dict[str, str]) -> str:
    key, colon, rest = message.partition(": ")
    if colon and key in arguments:
        path, message = parts.join(path, key), rest
    place = origins.get(path) or origins.get(path.rpartition(".")[0])
    return ": ".join(piece for piece in (place, path or class_name, message) if piece)
