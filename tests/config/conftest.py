"""A small plug-in package of parts, so that these tests depend on no part of ours."""

import sys
import textwrap

import pytest

from medgraph import catalogue

PARTS = """
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Sequence

import torch
from torch import nn

from medgraph import checks

SIZES = (4, 8)


@dataclass(frozen=True)
class Facts:
    dim: int


class Data:
    def __init__(self, root: str | Path, seed: int, size: tuple[int, int] = SIZES, axis: int | None = None):
        self.root, self.seed, self.size = root, seed, size
        checks.at_least("size", size[0], 1)

    @property
    def spec(self):
        from medgraph.errors import DataError

        if self.root == "absent":
            raise DataError("absent: expected a folder")
        return Facts(dim=self.size[0])


class Loss:
    def __init__(self, temperature: float = 0.1, mode: Literal["hard", "soft"] = "hard"):
        self.temperature = checks.positive("temperature", temperature)
        self.mode = mode


class Flip:
    def __init__(self, probability: float = 0.5):
        self.probability = checks.fraction("probability", probability)


class Method(nn.Module):
    def __init__(self, spec: Facts, loss: nn.Module, transforms: Sequence[nn.Module] = (), width: int = 16):
        super().__init__()
        if width % spec.dim:
            raise ValueError(f"width: expected a multiple of {spec.dim}, got {width}")
        self.loss, self.transforms, self.width = loss, transforms, width
        self.weight = nn.Parameter(torch.empty(width, spec.dim))


class Evaluator:
    def __init__(self, bins: int = 3):
        self.bins = checks.at_least("bins", bins, 1)


class Optimizer:
    def __init__(self, lr: float = 1e-3):
        self.lr = checks.positive("lr", lr)


class Schedule:
    def __init__(self, warmup: float = 0.0):
        self.warmup = checks.fraction("warmup", warmup)
"""

CONFIG = """\
kind: train
data: {name: fake, root: here}
method:
  name: fake
  loss:
    name: fake
    temperature: 0.1
  transforms: [{name: fake}, {name: fake, probability: 1}]
train:
  epochs: 2
  batch_size: 4
  optimizer: {name: fake}
  schedule: {name: fake, warmup: 0.1}
"""

PIPELINE = """\
name: tiny
seed: 7
stages:
  first: {config: stage.yaml}
  second: {config: stage.yaml, start_from: first}
"""


@pytest.fixture
def fake_parts(tmp_path, monkeypatch):
    """Every table offers one part called `fake`, of a plug-in package that nothing has imported."""
    package = tmp_path / "plugin"
    (package / "fake_plugin").mkdir(parents=True)
    (package / "fake_plugin" / "__init__.py").write_text("")
    (package / "fake_plugin" / "parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(package))
    classes = {
        "data": "Data", "losses": "Loss", "transforms": "Flip", "methods": "Method",
        "evaluators": "Evaluator", "optimizers": "Optimizer", "schedules": "Schedule",
    }  # fmt: skip
    for kind, name in classes.items():
        monkeypatch.setitem(catalogue.TABLES, kind, {"fake": f"fake_plugin.parts:{name}"})
    yield
    for module in [name for name in sys.modules if name.startswith("fake_plugin")]:
        del sys.modules[module]


@pytest.fixture
def write(fake_parts, tmp_path, monkeypatch):
    """write(config=..., pipeline=...) -> path of the pipeline, in a folder that is the current one."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def write(config: str = CONFIG, pipeline: str = PIPELINE):
        (folder / "stage.yaml").write_text(textwrap.dedent(config))
        (folder / "tiny.yaml").write_text(textwrap.dedent(pipeline))
        return folder / "tiny.yaml"

    return write
