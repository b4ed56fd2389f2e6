"""YAML text -> a tree of plain values that remembers where each one stands; dotted overrides."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from medgraph.errors import ConfigError

COMMAND_LINE = "command line"
_SCALARS = {"null", "bool", "int", "float", "str"}
_DEEPEST = 50  # levels of a dotted key, far more than any part has


@dataclass(frozen=True)
class Node:
    """One value of a config and its place.

    Attributes:
        value: A plain scalar, a dict of nodes by key, or a list of nodes.
        origin: `file:line:column`, or "command line".
    """

    value: Any
    origin: str

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_file(path: Path, errors: list[str]) -> Node:
    """The tree of one file. Mistakes that leave a tree (duplicate keys) go to `errors`. Raises ConfigError."""
    name = display(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{name}: expected a YAML file that can be read: {reason}") from error
    return read_text(text, name, errors)


def read_text(text: str, name: str, errors: list[str]) -> Node:
    """The tree of a YAML text; `name` is used as the file name in places. Raises ConfigError for broken YAML."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        place = f"{name}:{error.problem_mark.line + 1}:{error.problem_mark.column + 1}" if error.problem_mark else name
        raise ConfigError(f"{place}: broken YAML: {error.problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: broken YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise ConfigError(f"{name}: broken YAML: nested too deep") from None
    if yaml.resolver.processing_version != (1, 2):
        raise ConfigError(f"{name}: is read as YAML 1.2; another version reads words like `on` otherwise: remove %YAML")
    if root is None:
        return Node(None, _origin(name, None))
    return _convert(root, name, yaml, errors)


def apply_overrides(
    root: Node, overrides: tuple[str, ...], place: Callable[[list[str]], list[str]], errors: list[str]
) -> Node:
    """`root` with every override `a.b.c=value` put where `place` says; the checker judges the keys afterwards."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            errors.append(f"{COMMAND_LINE}: {override}: expected key.path=value, e.g. pretrain.train.epochs=3")
            continue
        try:
            value = _relocate(read_text(_quoted(text), COMMAND_LINE, errors))
            root = _put(root, place(key.split(".")), value)
        except ConfigError as error:
            errors.append(f"{COMMAND_LINE}: {key}: {str(error).removeprefix(COMMAND_LINE).lstrip(':0123456789 ')}")
    return root


def _quoted(text: str) -> str:
    """A glob of the command line as YAML takes it: there `*` begins an alias, which is not used."""
    return "'" + text.replace("'", "''") + "'" if text.startswith("*") else text


def changed(root: Node, changes: Node, what: str = "set") -> Node:
    """`root` with what a mapping of dotted keys to values changes in it. Raises ConfigError, which names it `what`."""
    if not isinstance(changes.value, dict):
        raise ConfigError(f"{changes.origin}: {what}: expected {{key.path: value}}, got {changes.plain()!r}")
    for key, value in changes.value.items():
        try:
            root = _put(root, key.split("."), value)
        except ConfigError as error:
            raise ConfigError(f"{value.origin}: {what}: {key}: {error}") from error
    return root


def display(path: Path) -> str:
    """The path as a reader wants it: relative when below the current folder."""
    full, here = os.path.abspath(path), os.getcwd()
    return os.path.relpath(full, here) if full.startswith(here + os.sep) else full


def _convert(node: Any, name: str, yaml: YAML, errors: list[str]) -> Node:
    origin = _origin(name, node)
    if node.anchor:
        raise ConfigError(f"{origin}: anchors and aliases (&, *) are not used here: write the value out.")
    if isinstance(node, MappingNode):
        return Node(_convert_mapping(node, name, yaml, errors), origin)
    if isinstance(node, SequenceNode):
        return Node([_convert(item, name, yaml, errors) for item in node.value], origin)
    return Node(_scalar(node, origin, yaml), origin)


def _convert_mapping(node: MappingNode, name: str, yaml: YAML, errors: list[str]) -> dict[str, Node]:
    values: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key, origin = key_node.value, _origin(name, key_node)
        if not isinstance(key_node, ScalarNode):
            raise ConfigError(f"{origin}: expected a word as key, got a mapping or a list.")
        if key in values:
            errors.append(f"{origin}: {key}: duplicate key; it stands at {values[key].origin} already")
            continue
        values[key] = replace(_convert(value_node, name, yaml, errors), origin=origin)
    return values


def _scalar(node: ScalarNode, origin: str, yaml: YAML) -> Any:
    kind = str(node.tag).rsplit(":", 1)[-1]
    if kind not in _SCALARS:
        return node.value
    try:
        value = yaml.constructor.construct_object(node)
        str(value)  # Python refuses to write numbers of some thousand digits
    except (ValueError, LookupError, YAMLError):
        text = node.value if len(node.value) <= 40 else f"{node.value[:40]}..."
        raise ConfigError(f"{origin}: {text!r} cannot be read as {kind}; if it is text, put it in quotes.") from None
    return value


def _origin(name: str, node: Any) -> str:
    if node is None:
        return f"{name}:1:1"
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _relocate(node: Node) -> Node:
    """The same tree, all of it from the command line."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _relocate(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_relocate(child) for child in value]
    return Node(value, COMMAND_LINE)


def _put(root: Node, keys: list[str], value: Node) -> Node:
    if not keys:
        return value
    if len(keys) > _DEEPEST:
        raise ConfigError(f"expected a key of fewer than {_DEEPEST} levels")
    head, rest = keys[0], keys[1:]
    if isinstance(root.value, list):
        if not head.isdecimal() or int(head) >= len(root.value):
            raise ConfigError(f"expected a position from 0 to {len(root.value) - 1}, got {head!r}")
        items = list(root.value)
        items[int(head)] = _put(items[int(head)], rest, value)
        return replace(root, value=items)
    if root.value is not None and not isinstance(root.value, dict):
        raise ConfigError(f"{head!r} has no place here: above it stands the value {root.value!r}")
    children = dict(root.value or {})
    children[head] = _put(children.get(head, Node(None, COMMAND_LINE)), rest, value)
    return Node(children, root.origin if root.value is not None else COMMAND_LINE)
