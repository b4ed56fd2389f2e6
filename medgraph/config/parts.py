"""One part of a config (`{name: info_nce, temperature: 0.1}`) against the constructor that it names."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from medgraph import catalogue
from medgraph.config import signature
from medgraph.config.read import Node
from medgraph.config.signature import FILLED, Parameter, Signature
from medgraph.errors import ConfigError


@dataclass
class Findings:
    """Mistakes found so far, one line each, and the place of every key path."""

    errors: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, origin: str, path: str, message: str) -> None:
        """Note a mistake."""
        self.errors.append(f"{origin}: {path}: {message}" if path else f"{origin}: {message}")

    def unknown(self, node: Node, path: str, key: str, known: Collection[str], owner: str) -> None:
        """Note an unknown key, with the nearest known one."""
        self.add(node.origin, join(path, key), owner + nearest(key, known))


def nearest(word: str, known: Collection[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all known ones."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known) or 'none'}."


def once(lines: Iterable[str]) -> list[str]:
    """Each mistake once. Stages that share their data stand in one line of a file, and would all repeat it."""
    found: dict[str, str] = {}
    for line in lines:
        found.setdefault(re.sub(r": \w+\.data\b", ": data", line, count=1), line)
    return list(found.values())


def join(path: str, key: str | int) -> str:
    """The key path one step further down."""
    return f"{path}.{key}" if path else str(key)


def convert(parameter: Parameter, value: Any) -> Any:
    """`value` as the constructor wants it: lists become tuples, text becomes paths. Raises ValidationError."""
    # JSON mode is strict about types and yet takes what YAML cannot say: tuples from lists, paths from text.
    return TypeAdapter(parameter.annotation).validate_json(json.dumps(value), strict=True)


def with_defaults(node: dict[str, Any], kind: str) -> dict[str, Any]:
    """The part with every default that it leaves out written out; its values are not checked here."""
    settable = signature.read(catalogue.path(kind, node["name"])).settable
    return {name: plain_default(parameter) for name, parameter in settable.items() if not parameter.required} | node


def check_part(node: Node, kind: str, path: str, findings: Findings) -> dict[str, Any] | None:
    """The part with every default written out; None if anything in it is wrong, which `findings` then tells."""
    findings.origins[path] = node.origin
    known = ", ".join(sorted(catalogue.table(kind)))
    if not isinstance(node.value, dict):
        findings.add(
            node.origin, path, f"expected a mapping with the key 'name', got {node.plain()!r}. Known: {known}."
        )
        return None
    if "name" not in node.value:
        findings.add(node.origin, path, f"missing key 'name'. Known: {known}.")
        return None
    name = node.value["name"]
    if not isinstance(name.value, str):
        findings.add(name.origin, join(path, "name"), f"expected a word, got {name.plain()!r}. Known: {known}.")
        return None
    try:
        target = signature.read(catalogue.path(kind, name.value))
    except ConfigError as error:
        findings.add(name.origin, join(path, "name"), str(error))
        return None
    values = check_arguments(node, target, path, findings, skip=("name",))
    return None if values is None else {"name": name.value, **values}


def check_arguments(
    node: Node, target: Signature, path: str, findings: Findings, skip: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """The arguments of a constructor with every default written out; None if anything is wrong."""
    before = len(findings.errors)
    settable = target.settable
    misspelt: set[str] = set()  # keys that an unknown one seems to mean: one mistake, one line
    for key, child in node.value.items():
        if key in FILLED and key in target.parameters:
            findings.add(child.origin, join(path, key), f"is filled from {FILLED[key]}: remove this line")
        elif key not in settable and key not in skip:
            findings.unknown(child, path, key, settable, f"{target.class_name} has no such parameter")
            misspelt.update(get_close_matches(key, settable, n=1))
    values: dict[str, Any] = {}
    for key, parameter in settable.items():
        if key in node.value:
            findings.origins[join(path, key)] = node.value[key].origin
            values[key] = _check_value(node.value[key], parameter, target, join(path, key), findings)
        elif parameter.required and key not in misspelt:
            findings.add(node.origin, path, f"missing key {key!r}; {target.class_name} needs it: {parameter.text}")
        elif not parameter.required:
            values[key] = plain_default(parameter)
    return values if len(findings.errors) == before else None


def plain_default(parameter: Parameter) -> Any:
    """The default as YAML would give it: tuples as lists."""
    default = parameter.default
    return json.loads(json.dumps(default)) if isinstance(default, tuple | list | dict) else default


def _check_value(node: Node, parameter: Parameter, target: Signature, path: str, findings: Findings) -> Any:
    if parameter.annotation is None:
        return _check_nested(node, parameter, path, findings)
    value = node.plain()
    try:
        convert(parameter, value)
    except ValidationError:
        findings.add(node.origin, path, _expected(parameter, value))
        return None
    messages = [check.run(value) for check in target.checks if check.parameter == parameter.name]
    for message in dict.fromkeys(filter(None, messages)):
        findings.add(node.origin, path, message)
    return value


def _check_nested(node: Node, parameter: Parameter, path: str, findings: Findings) -> Any:
    kind = catalogue.kind_of_key(parameter.name)
    if node.value is None and not parameter.required and parameter.default is None:
        return None
    if kind is None:
        findings.add(node.origin, path, f"cannot be written in YAML: {parameter.text} is for Python callers only")
        return None
    if not parameter.many:
        return check_part(node, kind, path, findings)
    if not isinstance(node.value, list):
        findings.add(node.origin, path, f"expected a list of parts, got {node.plain()!r}")
        return None
    return [check_part(item, kind, join(path, index), findings) for index, item in enumerate(node.value)]


def _expected(parameter: Parameter, value: Any) -> str:
    choices = [choice for choice in get_args(parameter.annotation) if isinstance(choice, str)]
    near = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if choices:
        return f"expected one of {', '.join(map(repr, choices))}, got {value!r}{hint}"
    return f"expected {parameter.text}, got {value!r}"
