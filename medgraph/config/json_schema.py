"""A JSON Schema of pipeline and config files, from the same signatures: completion and hints in editors."""

from typing import Any

from pydantic import TypeAdapter

from medgraph import catalogue
from medgraph.config import parts, signature
from medgraph.config.schema import STAGE_KEYS
from medgraph.config.signature import Parameter, Signature


def json_schema() -> dict[str, Any]:
    """The schema of one file: a pipeline, or the config of one stage."""
    definitions = {kind: _table(kind) for kind in catalogue.TABLES}
    definitions["stage"] = {"oneOf": [_stage(kind) for kind in STAGE_KEYS]}
    definitions["pipeline"] = _closed(
        {
            "name": {"type": "string"},
            "seed": {"type": "integer", "minimum": 0},
            "stages": {"type": "object", "additionalProperties": {"$ref": "#/$defs/entry"}},
        },
        ["name", "seed", "stages"],
    )
    config = {"oneOf": [{"type": "string"}, {"$ref": "#/$defs/stage"}]}
    changes = {"type": "object", "description": "settings of the config file, by dotted key, that are other here"}
    definitions["entry"] = _closed({"config": config, "start_from": {"type": "string"}, "set": changes}, ["config"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "medgraph",
        "oneOf": [{"$ref": "#/$defs/pipeline"}, {"$ref": "#/$defs/stage"}],
        "$defs": definitions,
    }


def _stage(kind: str) -> dict[str, Any]:
    needed, optional = STAGE_KEYS[kind]
    properties: dict[str, Any] = {"kind": {"const": kind}}
    for key in (*needed, *optional):
        properties[key] = _settings(key) if key in ("train", "compare", "choose") else _part_of(key)
    return _closed(properties, ["kind", *needed])


def _part_of(key: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{catalogue.kind_of_key(key)}"}


def _settings(key: str) -> dict[str, Any]:
    found = _arguments(signature.read(f"medgraph.config.schema:{key.capitalize()}"), {})
    if key == "choose":
        ways = {"type": "object", "additionalProperties": _settings("smooth")}
        found["properties"]["smooth"] = {"anyOf": [ways, {"type": "null"}], "default": None}
    return found


def _table(kind: str) -> dict[str, Any]:
    """Any part of a kind: its name first, then the parameters of that name."""
    names = sorted(catalogue.table(kind))
    if not names:
        return {"type": "object"}
    parts_by_name = [_arguments(signature.read(catalogue.path(kind, n)), {"name": {"const": n}}) for n in names]
    return {"type": "object", "properties": {"name": {"enum": names}}, "required": ["name"], "oneOf": parts_by_name}


def _arguments(target: Signature, first: dict[str, Any]) -> dict[str, Any]:
    properties = first | {name: _value(parameter) for name, parameter in target.settable.items()}
    return _closed(properties, [*first, *(name for name, p in target.settable.items() if p.required)])


def _value(parameter: Parameter) -> dict[str, Any]:
    if parameter.annotation is not None:
        schema = TypeAdapter(parameter.annotation).json_schema()
    elif catalogue.kind_of_key(parameter.name) is None:
        return {"type": "null"}
    else:
        part = _part_of(parameter.name)
        schema = {"type": "array", "items": part} if parameter.many else part
    if parameter.required:
        return schema
    default = {"default": parts.plain_default(parameter)}
    return schema | default if parameter.default is not None else {"anyOf": [schema, {"type": "null"}], **default}


def _closed(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
