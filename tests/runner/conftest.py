"""Fine-tuned models as a run writes them, made without training."""

import numpy as np
import pytest
import torch
from reference.nifti_files import FLIPPED, rotation, write

from medgraph import config
from medgraph.config.schema import Stage
from medgraph.data.spec import ImageSpec
from medgraph.runner.model import export_model

SPEC = ImageSpec(2, 1, (16, 16), 10, ("background", "bright"))
PIPELINE = """
name: tiny
seed: 3
stages:
  fine: {config: fine.yaml}
"""
CONFIG = """
kind: train
data: {name: labelled_slices, source: {name: folder, root: nowhere}, size: [16, 16]}
method:
  name: segmentation
  encoder: {name: resnet, depth: 18, width: 4}
  transform: {name: segmentation_augment}
  loss: {name: dice_cross_entropy}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""
VOLUMES = """
kind: train
data: {name: labelled_volumes, source: {name: folder, root: nowhere}, size: [8, 8, 8]}
method:
  name: patch_segmentation
  encoder: {name: resnet, depth: 18, width: 4}
  transform: {name: volume_segmentation_augment}
  loss: {name: dice_cross_entropy}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""


@pytest.fixture
def spec() -> ImageSpec:
    """Facts of the data that the model was fine-tuned on."""
    return SPEC


@pytest.fixture
def stage(tmp_path) -> Stage:
    """A stage that fine-tunes, whose data are nowhere."""
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    (tmp_path / "fine.yaml").write_text(CONFIG)
    return config.load(tmp_path / "tiny.yaml").stages["fine"]


@pytest.fixture
def run_folder(tmp_path, stage):
    """A run with one model, which calls bright what is bright, slice by slice."""
    return write_bright(tmp_path / "run", stage, SPEC)


@pytest.fixture
def volume_stage(tmp_path) -> Stage:
    """The same in 3D, on patches."""
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    (tmp_path / "fine.yaml").write_text(VOLUMES)
    return config.load(tmp_path / "tiny.yaml").stages["fine"]


@pytest.fixture
def volume_run_folder(tmp_path, volume_stage):
    """A run with one model in 3D, which calls bright what is bright, by a sliding window."""
    return write_bright(tmp_path / "run3d", volume_stage, ImageSpec(3, 1, (8, 8, 8), 10, ("background", "bright")))


def write_bright(folder, stage, spec):
    """A run with a model that calls bright what is bright: its last layer reads the input's own channel."""
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    middle = (1,) * spec.spatial_dims  # of a kernel of 3
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        decoder = method.decoder
        first, second = decoder.blocks[-1][0], decoder.blocks[-1][1]
        first.conv.weight[(0, -1, *middle)] = second.conv.weight[(0, 0, *middle)] = 1.0
        first.adn.N.weight.fill_(1)
        second.adn.N.weight.fill_(1)
        decoder.classifier.conv.weight[1, 0] = 20.0
        decoder.classifier.conv.bias[1] = -15.0  # above 0.75
    export_model(folder / "fine" / "model", method, stage, spec, {"stage": "fine", "seed": 3})
    return folder


@pytest.fixture
def cases(tmp_path):
    """Three NIfTI files with a bright box; flipped, oblique and plain affines. Returns the folder."""
    for number, affine in enumerate((FLIPPED, rotation(25), np.eye(4))):
        voxels = np.random.default_rng(number).normal(0, 1, (14, 18, 20)).astype(np.float32)
        voxels[3:6, 5:9, 6 : 12 + number] += 30
        write(tmp_path / "images" / f"case{number}.nii.gz", voxels, affine)
    return tmp_path / "images"
