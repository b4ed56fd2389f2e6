"""YAML text -> checked tree -> built objects. Imports no torch before something is built."""

from medgraph.config.build import build, dry_build
from medgraph.config.check import config_files, load
from medgraph.config.json_schema import json_schema
from medgraph.config.parts import with_defaults
from medgraph.config.resolve import resolved
from medgraph.config.schema import Compare, Pipeline, Stage, Train
from medgraph.config.stored import with_changes

__all__ = [
    "Compare",
    "Pipeline",
    "Stage",
    "Train",
    "build",
    "config_files",
    "dry_build",
    "json_schema",
    "load",
    "resolved",
    "with_changes",
    "with_defaults",
]
