"""Whole runs of the quickstart pipeline, shortened by overrides, on the volumes that ship."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from reference import killed

import medgraph
from medgraph import config
from medgraph.data.fingerprint import identity
from medgraph.errors import CheckpointError, ConfigError, DataError
from medgraph.runner import runner
from medgraph.runner.checkpoint import read_tensors
from medgraph.runner.runner import KINDS, run
from medgraph.runner.train import Stopped

HIPPOCAMPUS = Path(medgraph.__file__).parent / "samples" / "hippocampus"
SHORT = [
    "pretrain.train.epochs=2",
    "pretrain.train.steps_per_epoch=2",
    "pretrain.train.batch_size=16",
    "pretrain.method.encoder.width=8",
    "pretrain.method.assigner.num_prototypes=8",
    "pretrain.method.assigner.queue_size=16",
    "pretrain.method.assigner.queue_from_epoch=1",
    "verdict.compare.seeds=[0]",
    "verdict.train.epochs=2",
    "verdict.train.steps_per_epoch=2",
    "verdict.train.batch_size=8",
    "verdict.method.encoder.width=8",
]


def short(*more: str) -> config.Pipeline:
    return config.load("quickstart", [*SHORT, *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(short(), out=tmp_path_factory.mktemp("runs") / "whole", device="cpu")


def test_a_run_leaves_table_report_encoder_and_config(finished):
    rows = json.loads((finished / "verdict" / "table.json").read_text())
    assert {row["metric"] for row in rows} == {"dice", "hd95", "surface_dice", "volume_error"}
    assert all(row["difference"]["n"] == 16 for row in rows)
    assert (finished / "report.html").stat().st_size > 10_000
    assert (finished / "pretrain" / "encoder" / "encoder.safetensors").exists()
    assert json.loads((finished / "environment.json").read_text())["overrides"] == SHORT


def test_the_stored_config_repeats_the_run(finished, tmp_path, capsys):
    again = run(config.load(str(finished / "pipeline.yaml"), []), out=tmp_path / "again", device="cpu")
    assert "volumes: 24 taken from the cache, 0 prepared anew" in capsys.readouterr().out
    assert (again / "verdict" / "table.json").read_text() == (finished / "verdict" / "table.json").read_text()


def test_finished_stages_are_skipped(finished, capsys):
    before = (finished / "pretrain" / "metrics.jsonl").stat().st_mtime_ns
    for pipeline in (short(), config.load(str(finished / "pipeline.yaml"))):  # the command that a stopped run prints
        run(pipeline, out=finished, device="cpu", resume=True)
        assert capsys.readouterr().out.count("finished before, skipped") == len(pipeline.stages)
        assert json.loads((finished / "environment.json").read_text())["overrides"] == SHORT
    assert (finished / "pretrain" / "metrics.jsonl").stat().st_mtime_ns == before


def test_forgotten_overrides_throw_no_finished_run_away(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "quickstart-20200101-000000"
    shutil.copytree(finished, folder)
    with pytest.raises(ConfigError, match=r"quickstart-20200101-000000: holds a run with pretrain\.train\.epochs=2"):
        run(config.load("quickstart"), device="cpu", resume=True)
    assert (folder / "verdict" / "table.json").exists()
    assert run(short(), device="cpu", resume=True) == folder.relative_to(tmp_path)
    assert json.loads((folder / "environment.json").read_text())["overrides"] == SHORT


def test_a_stage_that_changed_says_that_it_starts_anew(finished, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    monkeypatch.setattr(runner, "KINDS", dict.fromkeys(runner.KINDS, lambda *a: None))
    monkeypatch.setattr(runner, "finish", lambda *a, **k: None)
    monkeypatch.setattr(runner, "write_cards", lambda *a: None)
    run(config.load("quickstart", [*SHORT, "verdict.train.epochs=9"]), out=folder, device="cpu", resume=True)
    told = capsys.readouterr().out
    assert "verdict: has changed since, what it had left is thrown away" in told
    assert told.count("finished before, skipped") == 2


@pytest.mark.parametrize("text", ['{"dig', "[]", '{"digest": 7, "pipeline": 7}'])
@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("environment.json", r"with the name from pipeline\.yaml beside it; or choose another --out"),
        ("pretrain/done.json", "Remove it, and the stage goes on from its last checkpoint"),
        ("pretrain/begun.json", "Remove .*pretrain to run the stage anew"),
    ],
)
def test_broken_files_of_a_run_are_told_and_stay(finished, tmp_path, file, text, advice):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    if file == "pretrain/begun.json":
        (folder / "pretrain" / "done.json").unlink()
    (folder / file).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{file}: expected .* as a run writes it[\s\S]*{advice}"):
        run(short(), out=folder, device="cpu", resume=True)
    assert (folder / file).read_text() == text
    assert (folder / "pretrain" / "checkpoint.safetensors").exists()


def test_a_run_without_its_environment_is_told_and_goes_on_as_advised(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "environment.json").unlink()
    with pytest.raises(CheckpointError, match=r"environment\.json: no such file, .*\"overrides\": \[\]"):
        run(short(), out=folder, device="cpu", resume=True)
    (folder / "environment.json").write_text('{"pipeline": "quickstart", "overrides": []}')
    run(short(), out=folder, device="cpu", resume=True)
    assert capsys.readouterr().out.count("finished before, skipped") == 3


def test_broken_scores_are_told_and_scored_again_as_advised(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    before = (folder / "content" / "scores.json").read_text()
    (folder / "content" / "scores.json").write_text(before[:100])
    with pytest.raises(DataError, match=r"content/scores\.json: expected scores .* by --resume"):
        run(short(), out=folder, device="cpu", resume=True)
    for name in ("scores.json", "done.json"):
        (folder / "content" / name).unlink()
    run(short(), out=folder, device="cpu", resume=True)
    assert (folder / "content" / "scores.json").read_text() == before


def test_an_unfinished_stage_does_not_go_on_with_other_cases(finished, tmp_path):
    folder, cases = tmp_path / "run", tmp_path / "cases"
    shutil.copytree(HIPPOCAMPUS, cases)
    source = f"{{name: decathlon, root: '{cases}'}}"
    pipeline = short(*(f"{stage}.data.source={source}" for stage in ("pretrain", "content", "verdict")))
    digest = pipeline.stages["pretrain"].digest
    shutil.copytree(finished, folder)
    (folder / "pretrain" / "done.json").unlink()
    index = json.loads((cases / "dataset.json").read_text())
    told = {"digest": digest, "cases": identity(config.build(pipeline.stages["pretrain"].data, "data"))}
    (folder / "pretrain" / "begun.json").write_text(json.dumps(told))
    index["split"]["train"] = index["split"]["train"][1:]
    (cases / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="stage pretrain began with 40 cases, and there are 39 now"):
        run(pipeline, out=folder, device="cpu", resume=True)
    assert (folder / "pretrain" / "checkpoint.safetensors").exists()
    for stage in pipeline.stages.values():
        (folder / stage.name / "done.json").write_text(json.dumps({"digest": stage.digest}))
    run(pipeline, out=folder, device="cpu", resume=True)  # what is finished is skipped


def test_a_folder_that_holds_a_run_is_refused(finished):
    with pytest.raises(ConfigError, match="already holds a run"):
        run(short(), out=finished, device="cpu")


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="is no run of ours"):
        run(short(), out=tmp_path, device="cpu", resume=True)


def test_a_run_of_another_pipeline_is_refused(finished):
    other = config.load(str(finished / "pipeline.yaml"), ["name=other"])
    with pytest.raises(ConfigError, match="holds a run of 'quickstart', not of 'other'"):
        run(other, out=finished, device="cpu", resume=True)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; expected a folder"):
        run(short(), out=tmp_path / "file", device="cpu")


def test_a_folder_that_cannot_be_written_is_named():
    with pytest.raises(ConfigError, match="cannot be written"):
        run(short(), out="/proc/medgraph", device="cpu")


def test_ctrl_c_outside_of_training_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(KINDS, "train", interrupt)
    with pytest.raises(Stopped, match=r"pretrain: interrupted\. Nothing is lost: go on with"):
        run(short(), out=tmp_path / "run", device="cpu")


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def check_it_goes_on(command, out, finished):
    subprocess.run([*command, "--resume"], check=True, env=ENVIRONMENT)
    ours, theirs = ((run / "verdict" / "table.json").read_text() for run in (out, finished))
    assert ours == theirs
    files = ("pretrain/checkpoint.safetensors", "pretrain/encoder/encoder.safetensors")
    for file in files:  # whose queue and momentum a table of few digits would not show
        there, here = (read_tensors(run / file)[0] for run in (finished, out))
        assert there.keys() == here.keys()
        assert [name for name, value in there.items() if not torch.equal(value, here[name])] == []


def arguments_of(out):
    return ["run", "quickstart", *SHORT, "--out", str(out), "--device", "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "verdict"])
def test_a_run_killed_in_its_second_epoch_ends_with_the_same_table(finished, tmp_path, stage):
    arguments, out = arguments_of(tmp_path / "run"), tmp_path / "run"
    dead = subprocess.run(killed.command(stage, *arguments), env=ENVIRONMENT)
    assert dead.returncode == -signal.SIGKILL
    assert killed.position(out / stage)["epoch"] == 1
    check_it_goes_on([sys.executable, "-m", "medgraph", *arguments], out, finished)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_in_its_first_steps_ends_with_the_same_table(finished, tmp_path, number):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "medgraph", *arguments_of(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (out / "pretrain" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    message = process.communicate(timeout=120)[1].decode()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert (out / "pretrain" / "metrics.jsonl").exists()
    if number == signal.SIGINT:
        assert f"medgraph run {out / 'pipeline.yaml'} --resume --out {out}" in message
    check_it_goes_on(command, out, finished)
