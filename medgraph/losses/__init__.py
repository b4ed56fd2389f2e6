"""The shared loss core. `from medgraph.losses import InfoNCE` imports that one file and nothing else."""

import importlib
from typing import Any

from medgraph import catalogue


def __getattr__(name: str) -> Any:
    for location in catalogue.TABLES["losses"].values():
        module, _, attribute = location.partition(":")
        if attribute == name:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"medgraph.losses has no {name!r}")


def __dir__() -> list[str]:
    return sorted(location.partition(":")[2] for location in catalogue.TABLES["losses"].values())
