"""A part of a config as a run stored it, with changes from the command line."""

from collections.abc import Sequence
from typing import Any

from medgraph.config import read
from medgraph.config.parts import Findings, check_part, once
from medgraph.config.read import Node
from medgraph.errors import ConfigError


def with_changes(node: dict[str, Any], kind: str, changes: Sequence[str], path: str) -> dict[str, Any]:
    """A checked part of the table `kind` with changes to its keys, `source.root=DIR`, checked again.

    Args:
        node: The part: "name" and its arguments.
        kind: Table of the catalogue.
        changes: Each a dotted key, `=`, and the value as in YAML.
        path: Key path of the part, for messages.

    Raises:
        ConfigError: A key or a value does not fit; a line for each.
    """
    findings = Findings()
    root = read.apply_overrides(_tree(node), tuple(changes), lambda keys: keys, findings.errors)
    changed = check_part(root, kind, path, findings) if not findings.errors else None
    if changed is None:
        raise ConfigError("\n".join(once(findings.errors)))
    return changed


def _tree(value: Any) -> Node:
    """The tree of plain values."""
    if isinstance(value, dict):
        value = {key: _tree(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_tree(child) for child in value]
    return Node(value, "stored")
