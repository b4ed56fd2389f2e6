import json

import pytest
import torch
from torch import nn

from medgraph.errors import CheckpointError
from medgraph.runner import checkpoint
from medgraph.runner.checkpoint import Position
from medgraph.runner.optimizer import AdamW


def _trained(steps: int, seed: int = 0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = AdamW(lr=0.01).make([{"params": list(model.parameters())}])
    _train(model, optimizer, range(steps))
    return model, optimizer


def _train(model, optimizer, steps):
    for step in steps:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).pow(3).sum().backward()
        optimizer.step()


def test_training_goes_on_to_the_same_bits(tmp_path):
    model, optimizer = _trained(3)
    checkpoint.save(tmp_path, model, optimizer, Position(1, 2, 3, (0.5, 0.1)))
    _train(model, optimizer, range(3, 6))
    other, other_optimizer = _trained(1, seed=9)
    assert checkpoint.restore(tmp_path, other, other_optimizer) == Position(1, 2, 3, (0.5, 0.1))
    _train(other, other_optimizer, range(3, 6))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_nothing_to_restore_says_so(tmp_path):
    assert checkpoint.restore(tmp_path, *_trained(0)) is None


def test_another_model_is_refused(tmp_path):
    checkpoint.save(tmp_path, *_trained(1), Position())
    model = nn.Linear(4, 3)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        checkpoint.restore(tmp_path, model, AdamW().make([{"params": list(model.parameters())}]))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        checkpoint.restore(tmp_path, *_trained(0))


def test_nothing_temporary_is_left(tmp_path):
    checkpoint.save(tmp_path, *_trained(1), Position())
    checkpoint.write_json(tmp_path / "a.json", {"x": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", checkpoint.FILE]
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
