"""A staged run that is killed in any of its stages goes on to the same weights, banks, queues and optimiser."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from reference import killed

from medgraph.runner import checkpoint

PIPELINE = """
name: staged
seed: 31
stages:
  intra: {config: smoke/volume-intra.yaml}
  masked: {config: smoke/volume-masked.yaml, start_from: intra}
  inter: {config: smoke/volume-inter.yaml, start_from: masked}
  joint: {config: smoke/volume-joint.yaml, start_from: masked}
"""
STAGES = ("intra", "masked", "inter", "joint")


def command(folder, out):
    (folder / "staged.yaml").write_text(PIPELINE)
    short = ["inter.method.encoder.slice_encoder.width=4", "joint.method.encoder.slice_encoder.width=4"]
    short += ["intra.method.encoder.width=4", "masked.method.encoder.slice_encoder.width=4"]
    start = [sys.executable, "-m", "medgraph", "run", str(folder / "staged.yaml")]
    return [*start, *short, "--device", "cpu", "--out", str(out)]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    subprocess.run(command(folder, folder / "whole"), check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return folder / "whole"


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_goes_on_to_the_same_state(finished, tmp_path, stage):
    out = tmp_path / "run"
    dying = killed.command(stage, *command(tmp_path, out)[3:])
    assert subprocess.run(dying, env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert killed.position(out / stage)["epoch"] == 1
    subprocess.run([*command(tmp_path, out), "--resume"], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    for name in STAGES:
        for file in (checkpoint.FILE, "encoder/encoder.safetensors"):
            there, here = (checkpoint.read_tensors(run / name / file)[0] for run in (finished, out))
            assert there.keys() == here.keys()
            assert [key for key, value in there.items() if not torch.equal(value, here[key])] == [], name


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_views_made_ahead_on_a_free_core_lead_to_the_same_state(finished, tmp_path):
    bound = "import os; from medgraph.cli import main; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); main()"
    arguments = command(tmp_path, tmp_path / "run")[3:]
    subprocess.run([sys.executable, "-c", bound, *arguments], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    for name in STAGES:
        there, here = (checkpoint.read_tensors(run / name / checkpoint.FILE)[0] for run in (finished, tmp_path / "run"))
        assert [key for key, value in there.items() if not torch.equal(value, here[key])] == [], name
