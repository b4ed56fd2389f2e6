"""Memory: what is forecast from two small steps is what a whole step takes."""

import json
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference.small_intra import Noise, small_intra

from medgraph.method import Step
from medgraph.runner.memory import Forecast, LiveBytes, Peak, forecast, held
from medgraph.runner.optimizer import SGD, AdamW

CPU = torch.device("cpu")


def test_live_bytes_are_those_of_tensors_alive():
    with LiveBytes() as live:
        first = torch.zeros(1000)
        second = first[:500].view(20, 25)  # shares the memory of the first
        del first
        assert live.now == 4000
        del second
        third = torch.zeros(500)
        assert (live.now, live.peak) == (2000, 4000)
    assert third.numel() == 500


@pytest.mark.parametrize("batch_size", [20, 64])
def test_two_small_steps_tell_what_a_whole_one_takes(batch_size):
    method, batch = small_intra(), list(range(batch_size))
    expected = forecast(method, Noise(), batch, Step(0, 0, 0), AdamW(), CPU)
    with LiveBytes() as live:
        method(Noise().__getitems__(batch), Step(0, 0, 0))["loss"].backward()
    assert expected.step == pytest.approx(live.peak, rel=0.05)
    assert expected.total == expected.before + expected.optimizer + expected.step


def test_a_batch_that_is_made_ahead_counts_with_its_views():
    batch = list(range(20))
    alone, two = (forecast(small_intra(), Noise(), batch, Step(0, 0, 0), AdamW(), CPU, x).step for x in (False, True))
    examples = Noise().__getitems__(batch)
    views = small_intra().views_of(examples, Step(0, 0, 0))
    held_twice = [examples.images, examples.ids, examples.sources, *views]
    assert two - alone == pytest.approx(sum(x.numel() * x.element_size() for x in held_twice), rel=0.01)


def test_the_method_stays_as_it_is():
    method = small_intra()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    forecast(method, Noise(), list(range(8)), Step(0, 0, 0), AdamW(), CPU)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


@pytest.mark.parametrize(("optimizer", "copies"), [(AdamW(), 2), (SGD(), 1)])
def test_the_memory_of_the_optimiser_is_counted(optimizer, copies):
    method = small_intra()
    weights = sum(4 * parameter.numel() for parameter in method.parameters())
    found = forecast(method, Noise(), list(range(8)), Step(0, 0, 0), optimizer, CPU).optimizer
    assert found == pytest.approx(copies * weights, rel=0.01)


def test_a_forecast_in_words():
    words = str(Forecast(2**30, 2**28, 2**29))
    assert words == "memory: 1.75 GiB expected (1.00 GiB before the first step, 0.25 GiB optimiser, 0.50 GiB step)"


def _touch_64_mib():
    """Pages straight from the system, and back to it: an allocator may hold some that were freed before."""
    with mmap.mmap(-1, 2**26) as pages:
        for start in range(0, 2**26, mmap.PAGESIZE):
            pages[start] = 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells no peak")
def test_a_peak_counts_from_its_start():
    _touch_64_mib()
    peak = Peak(CPU)
    start = peak.bytes()
    assert start < held(CPU) + 2**24
    _touch_64_mib()
    assert 2**25 < peak.bytes() - start < 2**27


PIPELINE = """
name: small
seed: 1
stages:
  pretrain: {config: pretrain.yaml}
"""
INTRA = """
kind: train
data: {name: slices, source: {name: sample}, axis: 1, size: [48, 48]}
method:
  name: intra
  encoder: {name: resnet, width: 16}
  views: {name: multi_crop}
  loss: {name: prototype_cross_entropy}
  assigner: {name: swav, queue_size: 0}
train: {epochs: 1, steps_per_epoch: 2, batch_size: 128, optimizer: {name: adamw}, schedule: {name: constant}}
"""
INTER = """
kind: train
data: {name: stacks, source: {name: sample}, axis: 1, size: [48, 48]}
method:
  name: inter
  encoder:
    name: volume
    slice_encoder: {name: resnet, depth: 34, width: 16}
    attention: {name: ms1d}
  views: {name: stack_views, num_slices: 24}
  loss: {name: prototype_cross_entropy}
  assigner: {name: deepcluster, num_prototypes: 4}
train: {epochs: 1, steps_per_epoch: 2, batch_size: 8, optimizer: {name: adamw}, schedule: {name: constant}}
"""
MASKED = """
kind: train
data: {name: stacks, source: {name: sample}, axis: 1, size: [48, 48]}
method:
  name: masked
  encoder:
    name: volume
    slice_encoder: {name: resnet, width: 32}
    attention: {name: ms1d}
  views: {name: stack_views, num_slices: 24}
  loss: {name: masked_prediction}
  num_cached_views: 0
train: {epochs: 1, steps_per_epoch: 2, batch_size: 16, optimizer: {name: adamw}, schedule: {name: constant}}
"""
JOINT = """
kind: train
data:
  name: images_and_stacks
  image_data: {name: slices, source: {name: sample}, axis: 1, size: [48, 48]}
  volume_data: {name: stacks, source: {name: sample}, axis: 1, size: [48, 48]}
  images_per_batch: 64
method:
  name: joint
  encoder:
    name: volume
    slice_encoder: {name: resnet, width: 16}
    attention: {name: ms1d}
  image_views: {name: multi_crop, sizes: [48], counts: [2], areas: [[0.4, 1.0]]}
  volume_views: {name: stack_views, num_slices: 24}
  loss: {name: prototype_cross_entropy}
  mask_loss: {name: masked_prediction, measure: cosine}
  image_assigner: {name: swav, queue_size: 0}
  volume_assigner: {name: deepcluster, num_prototypes: 4}
train: {epochs: 1, steps_per_epoch: 2, batch_size: 8, optimizer: {name: adamw}, schedule: {name: constant}}
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells no peak")
@pytest.mark.parametrize("text", [INTRA, INTER, MASKED, JOINT], ids=["intra", "inter", "masked", "joint"])
def test_the_measured_peak_lies_within_a_fifth_of_the_forecast(text, tmp_path):
    """Of a process of its own, as a user starts it; and what a step takes is not lost in what libraries take."""
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "pretrain.yaml").write_text(text)
    command = [sys.executable, "-m", "medgraph", "run", str(tmp_path / "pipeline.yaml"), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "pretrain" / "cost.json").read_text())
    assert found["peak_bytes"] == pytest.approx(found["forecast_bytes"], rel=0.2)
    step = re.search(r"memory: .* optimiser, ([\d.]+) GiB step\)", done.stdout)
    assert float(step.group(1)) > 0.1
    assert re.search(r"memory: [\d.]+ GiB at the peak, \d+% (above|below) what was expected", done.stdout)
    assert re.search(r"time: \d+ images/s through the encoder, \d+% of the time outside it", done.stdout)
