"""Every form of segmentation from YAML: slice context from a volume encoder, SegResNet and Swin in 3D."""

import json

import pytest
import torch

from medgraph import config
from medgraph.runner.export import load_encoder
from medgraph.runner.model import load_model
from medgraph.runner.runner import run


@pytest.mark.slow
def test_every_form_trains_and_comes_back_from_disk(tmp_path, rng):
    out = run(config.load("smoke-segment"), out=tmp_path / "run", device="cpu")
    shapes = {"context": (5, 1, 32, 32), "segresnet": (1, 1, 30, 33, 26), "swin": (1, 1, 30, 33, 26)}
    for stage, shape in shapes.items():
        model = load_model(out / stage / "model")
        assert model.method.predict(torch.rand(shape, generator=rng)).shape == (shape[0], 3, *shape[2:])
        trained = load_encoder(out / stage / "encoder").state_dict()
        assert all(torch.equal(value, trained[name]) for name, value in model.method.encoder.state_dict().items())
        assert len(json.loads((out / stage / "scores.json").read_text())["rows"]) == 32  # 16 volumes of 2 labels
