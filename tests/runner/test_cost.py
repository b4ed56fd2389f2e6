"""Cost: what a training says about itself, and leaves in cost.json."""

import json
import time

import pytest
import torch
from reference.small_intra import Noise, small_intra
from torch import nn

from medgraph.method import Method, Step
from medgraph.runner import cost as cost_file
from medgraph.runner.cost import FILE, Cost
from medgraph.runner.optimizer import AdamW

CPU = torch.device("cpu")


class Plain(Method):
    """Works on whole batches alone, and has no images."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 2)

    def training_step(self, batch, step, views):
        return {"loss": self.encoder(torch.ones(1, 2)).sum()}


def watched(method, folder, batch):
    cost = Cost(method, AdamW(), CPU, folder)
    cost.begin()
    said = cost.start(Noise(), batch, Step(0, 0, 0))
    assert cost.start(Noise(), batch, Step(0, 1, 9)) == []  # once a training
    loss = method(Noise().__getitems__(batch), Step(0, 0, 0))["loss"]
    with cost.backward():
        loss.backward()
    return said, cost.close(waited=0.001, write=True)


def test_memory_and_time_are_told_before_and_after(tmp_path):
    said, lines = watched(small_intra(), tmp_path, list(range(8)))
    assert said[0].startswith("memory: ")
    found = json.loads((tmp_path / FILE).read_text())
    assert found["images_per_second"] * found["seconds"] == pytest.approx(2 * 8)
    assert found["waiting"] * found["seconds"] == pytest.approx(0.001)
    assert 0 < found["outside_encoder"] < 1
    outside = f"{found['outside_encoder']:.0%} of the time outside it (heads, decoder, losses, views)"
    assert lines[-1] == f"time: {found['images_per_second']:.0f} images/s through the encoder, {outside}"


def test_the_start_of_the_first_epoch_counts_and_the_forecast_does_not(tmp_path, monkeypatch):
    """Images that a method sees before its first step are time in the encoder like any other."""
    method = small_intra()
    cost = Cost(method, AdamW(), CPU, tmp_path)
    cost.begin()
    method.encoder(torch.rand(40, 1, 24, 24))

    def slow(*arguments):
        method.encoder(torch.rand(3, 1, 24, 24))
        time.sleep(0.5)

    monkeypatch.setattr(cost_file, "forecast", slow)
    cost.start(Noise(), list(range(8)), Step(0, 0, 0))
    cost.close(waited=0.0, write=True)
    found = json.loads((tmp_path / FILE).read_text())
    assert found["images_per_second"] * found["seconds"] == pytest.approx(40)
    assert found["seconds"] < 0.5


def test_what_cannot_be_tried_in_part_is_not_forecast(tmp_path):
    for method, batch in ((Plain(), list(range(8))), (small_intra(), [0, 1])):
        said, lines = watched(method, tmp_path, batch)
        assert said == []
        assert not any("expected" in line for line in lines)
        assert "forecast_bytes" not in json.loads((tmp_path / FILE).read_text())


def test_without_images_there_is_no_rate_of_them(tmp_path):
    _, lines = watched(Plain(), tmp_path, [0, 1])
    found = json.loads((tmp_path / FILE).read_text())
    assert "images_per_second" not in found
    assert 0 < found["outside_encoder"] < 1
    assert not any(line.startswith("time: ") for line in lines)


def test_a_training_that_took_no_step_says_nothing(tmp_path):
    assert Cost(Plain(), AdamW(), CPU, tmp_path).close(waited=0.0, write=True) == []
    assert not (tmp_path / FILE).exists()


def test_only_one_process_writes(tmp_path):
    cost = Cost(Plain(), AdamW(), CPU, tmp_path)
    cost.begin()
    cost.start(Noise(), [0], Step(0, 0, 0))
    cost.close(waited=0.0, write=False)
    assert not (tmp_path / FILE).exists()
