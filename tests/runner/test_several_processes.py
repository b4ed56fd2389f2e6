"""A pipeline in two real processes, as `torchrun` starts them: one writes and speaks, both train."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference import killed
from reference.answering import ANSWERING

from medgraph.runner import checkpoint

RUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
ONE_STAGE = """
name: one-stage
seed: 31
stages:
  intra: {config: smoke/volume-intra.yaml}
"""
ENDED_EARLY = """
import sys

sys.path.insert(0, {tests!r})
from reference import killed

killed.{ends}
"""


def started(*arguments, folder, pipeline, program=("-m", "medgraph")):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, *RUN, port, *program, "run", pipeline, "--device", "cpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=folder, env=environment, timeout=400)


def torchrun(*arguments, folder, pipeline="smoke-volume"):
    done = started(*arguments, folder=folder, pipeline=pipeline)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_fresh_run_in_two_processes_ends_with_one_verdict_and_is_skipped_on_resume(tmp_path):
    frozen = "intra.method.assigner={name: swav, num_prototypes: 8, queue_size: 0, num_frozen_steps: 2}"
    said = torchrun("--out", "run", frozen, folder=tmp_path)
    assert said.count("Take the encoder away:") == said.count("no difference can be claimed") == 1
    logged = [json.loads(line) for line in (tmp_path / "run" / "intra" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged] == list(range(1, len(logged) + 1))
    assert json.loads((tmp_path / "run" / "segment" / "table.json").read_text())
    again = torchrun("--out", "run", "--resume", frozen, folder=tmp_path)
    assert again.count("finished before, skipped") == 5


@pytest.mark.slow
def test_members_that_two_processes_train_are_joined_once(tmp_path):
    (tmp_path / "answering.yaml").write_text(ANSWERING)
    said = torchrun("--out", "run", folder=tmp_path, pipeline="answering.yaml")
    assert said.count("member-1, seed 3") == said.count("member-2, seed 4") == 1
    path = tmp_path / "run" / "fine"
    weights = [(path / name / "model" / "model.safetensors").stat().st_size for name in ("", "member-1", "member-2")]
    assert weights[0] > 1.9 * weights[1] == 1.9 * weights[2]
    assert json.loads((path / "scores.json").read_text())["rows"]


@pytest.mark.slow
def test_two_processes_label_once_for_the_next_round(tmp_path):
    (tmp_path / "answering.yaml").write_text(ANSWERING)
    changes = ("fine.train.members=1", "fine.train.self_training=1")
    said = torchrun("--out", "run", *changes, folder=tmp_path, pipeline="answering.yaml")
    assert said.count("22 training volumes are labelled by the network of round 1") == 1
    path = tmp_path / "run" / "fine"
    assert len(list((path / "round-1" / "labels").iterdir())) == 23
    steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert json.loads((path / "scores.json").read_text())["rows"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "one.yaml").write_text(ONE_STAGE)
    torchrun("--out", "run", folder=folder, pipeline="one.yaml")
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "says", "epoch", "batch"),
    [
        ("run('intra')", "Signal 9 (SIGKILL)", 1, 0),
        ("run_asked_to_stop(0)", "stopped after step 1 of 4", 0, 1),
        ("run_asked_to_stop(1)", "stopped after step 1 of 4", 0, 1),
    ],
)
def test_two_processes_that_end_early_go_on_to_the_same_state(uninterrupted, tmp_path, ends, says, epoch, batch):
    (tmp_path / "one.yaml").write_text(ONE_STAGE)
    (tmp_path / "early.py").write_text(ENDED_EARLY.format(tests=str(Path(__file__).parents[1]), ends=ends))
    early = started("--out", "run", folder=tmp_path, pipeline="one.yaml", program=("early.py",))
    assert early.returncode != 0
    assert says in early.stderr
    position = killed.position(tmp_path / "run")
    assert (position["epoch"], position["batch"]) == (epoch, batch)
    torchrun("--out", "run", "--resume", folder=tmp_path, pipeline="one.yaml")
    for file in (checkpoint.FILE, "encoder/encoder.safetensors"):
        there, here = (checkpoint.read_tensors(run / "intra" / file)[0] for run in (uninterrupted, tmp_path / "run"))
        assert there.keys() == here.keys()
        assert [key for key, value in there.items() if not torch.equal(value, here[key])] == []
