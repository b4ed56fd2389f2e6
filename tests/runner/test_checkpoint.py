import json

import pytest
import torch
from torch import nn

from medgraph import files
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


def test_training_goes_on_to_the_same_bits_whatever_the_layout(tmp_path):
    """A fused step takes weights, gradients and states in order of memory."""

    def trained(steps):
        torch.manual_seed(len(steps))
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
        model = nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
        optimizer = AdamW(lr=0.01).make([{"params": list(model.parameters())}])
        for step in steps:
            take(model, optimizer, step)
        return model, optimizer

    def take(model, optimizer, step):
        x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).pow(3).sum().backward()
        optimizer.step()

    model, optimizer = trained(range(3))
    checkpoint.save(tmp_path, model, optimizer, Position())
    other, other_optimizer = trained(range(1))
    checkpoint.restore(tmp_path, other, other_optimizer)
    for each in ((model, optimizer), (other, other_optimizer)):
        take(*each, 3)
    assert torch.equal(model[0].weight, other[0].weight)


class Filled(nn.Linear):
    """A model with a table that is filled once."""

    constants = ("table",)

    def __init__(self):
        super().__init__(4, 3)
        self.register_buffer("table", torch.zeros(5))


def test_what_no_step_changes_is_stored_once(tmp_path):
    model = Filled()
    model.table += 7
    optimizer = AdamW().make([{"params": list(model.parameters())}])
    checkpoint.save(tmp_path, model, optimizer, Position())
    written = (tmp_path / checkpoint.CONSTANTS).stat().st_mtime_ns
    assert "model.table" not in checkpoint.read_tensors(tmp_path / checkpoint.FILE)[0]
    model.weight.data += 1
    checkpoint.save(tmp_path, model, optimizer, Position(1))
    assert (tmp_path / checkpoint.CONSTANTS).stat().st_mtime_ns == written
    other = Filled()
    assert checkpoint.restore(tmp_path, other, AdamW().make([{"params": list(other.parameters())}])) == Position(1)
    assert torch.equal(other.table, model.table)
    assert torch.equal(other.weight, model.weight)


def test_constants_that_are_gone_are_told(tmp_path):
    model = Filled()
    optimizer = AdamW().make([{"params": list(model.parameters())}])
    checkpoint.save(tmp_path, model, optimizer, Position())
    (tmp_path / checkpoint.CONSTANTS).unlink()
    with pytest.raises(CheckpointError, match=r"does not fit this model[\s\S]*table"):
        checkpoint.restore(tmp_path, model, optimizer)


def test_constants_of_a_run_that_was_killed_before_are_replaced(tmp_path):
    model = Filled()
    checkpoint.write_tensors(tmp_path / checkpoint.CONSTANTS, {"table": torch.ones(5)}, {})
    checkpoint.save(tmp_path, model, AdamW().make([{"params": list(model.parameters())}]), Position())
    assert not checkpoint.read_tensors(tmp_path / checkpoint.CONSTANTS)[0]["table"].any()


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


@pytest.mark.parametrize("text", ['{"a": ', "[1]", "7", '{"a": 7}', "{}", b"\xff\xfe"])
def test_broken_json_is_told_with_what_was_expected_and_what_to_do(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=r"x\.json: expected .* as a run writes it.* Remove it\."):
        checkpoint.read_json(path, {"a": str}, "Remove it.")
    with pytest.raises(CheckpointError, match=r"x\.json: expected .* as a run writes it.* Remove it\."):
        checkpoint.read_json(path, {"a": str}, "Remove it.", is_list=True)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"x\.json: no such file, expected one as a run writes it\. Remove it\."):
        checkpoint.read_json(path, {"a": str}, "Remove it.")


def test_good_json_is_read(tmp_path):
    checkpoint.write_json(tmp_path / "x.json", [{"a": "b"}])
    assert checkpoint.read_json(tmp_path / "x.json", {"a": str}, "", is_list=True) == [{"a": "b"}]


def test_a_full_disk_leaves_the_last_checkpoint_and_names_the_file(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, *_trained(1), Position(1))
    before = (tmp_path / checkpoint.FILE).read_bytes()

    def fill(tensors, path, metadata):
        path.write_bytes(b"half")
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fill)
    with pytest.raises(OSError, match="No space left on device") as full:
        checkpoint.save(tmp_path, *_trained(2), Position(2))
    assert full.value.filename == str(tmp_path / checkpoint.FILE)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]
    assert (tmp_path / checkpoint.FILE).read_bytes() == before


def test_what_a_writer_leaves_when_interrupted_is_taken_away(tmp_path):
    def write():
        with files.whole(tmp_path / "a.npy") as temporary:
            assert temporary.suffix == ".npy"
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())
