"""YAML text -> checked tree -> built objects. Imports no torch before something is built."""

from medgraph.config.build import build, dry_build
from medgraph.config.check import load
from medgraph.config.resolve import resolved
from medgraph.config.schema import Compare, Pipeline, Stage, Train

__all__ = ["Compare", "Pipeline", "Stage", "Train", "build", "dry_build", "load", "resolved"]
