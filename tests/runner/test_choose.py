"""A stage that trains candidates and keeps the one that is best on validation."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from reference.candidates import choosing

import medgraph
from medgraph import config
from medgraph.errors import ConfigError, DataError
from medgraph.evaluation.node_scores import NodeProbe
from medgraph.runner import checkpoint
from medgraph.runner.encoder_folder import WEIGHTS, read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.handover import check_handovers

ENCODER = "name: metapath, dim: 16"
CHOICE = """
candidates:
  noise: {data.feature_mask: 0.99, data.edge_masks: [0.99], train.epochs: 1}
  plain: {}
  few: {data.top_k: [2], train.epochs: 2}
"""
PIPELINE = choosing(ENCODER, 20, CHOICE)
EVALUATOR = NodeProbe(num_probes=3, num_steps=40)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("choosing") / "choosing.yaml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def finished(pipeline):
    return medgraph.run(pipeline, out=pipeline.parent / "run", device="cpu")


def choice_of(run):
    return json.loads((run / "pretrain" / "choice.json").read_text())


def test_the_best_on_validation_is_kept_and_scored_on_what_it_saw(finished):
    choice = choice_of(finished)
    figures = choice["validation"]
    assert list(figures) == ["noise", "plain", "few"]
    assert len(set(figures.values())) == 3
    assert figures[choice["best"]] == max(figures.values())
    own, best = finished / "pretrain" / "encoder", finished / "pretrain" / choice["best"] / "encoder"
    assert (own / WEIGHTS).read_bytes() == (best / WEIGHTS).read_bytes()
    facts = read_facts(own)["facts"]
    assert facts["choice"] == choice
    assert facts["data"] == read_facts(best)["facts"]["data"]
    assert f"{choice['best']} is kept, with" in (own / "README.md").read_text()
    assert f"pretrain: {choice['best']} is kept, with" in (finished / "report.html").read_text()
    (row,) = json.loads((finished / "probe" / "scores.json").read_text())["rows"]
    data, model = config.build(facts["data"], "data", seed=3), SimpleNamespace(encoder=load_encoder(own))
    (again,) = EVALUATOR.evaluate(model, data).rows
    assert row["macro_f1"] == again["macro_f1"]
    assert figures[choice["best"]] == pytest.approx(row["validation_macro_f1"], abs=1e-9)


def test_a_finished_candidate_is_not_trained_again_and_ties_go_to_the_first(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in ("noise", "plain", "few"):
        checkpoint.write_json(run / "pretrain" / name / "validation.json", {"figure": 50.0})
    (run / "pretrain" / "done.json").unlink()
    medgraph.run(run / "pipeline.yaml", out=run, resume=True, device="cpu")
    said = capsys.readouterr().out
    assert all(f"{name}: finished before, skipped" in said for name in ("noise", "plain", "few"))
    assert "noise is kept, with 50.00 on validation; plain 50.00, few 50.00" in said
    own, first = run / "pretrain" / "encoder", run / "pretrain" / "noise" / "encoder"
    assert (own / WEIGHTS).read_bytes() == (first / WEIGHTS).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("until", ["noise/validation.json", "plain/metrics.jsonl", "choice.json"])
def test_a_killed_choice_ends_with_the_same_weights(pipeline, finished, tmp_path, until):
    command = [sys.executable, "-m", "medgraph", "run", str(pipeline), "--out", "run", "--device", "cpu"]
    settings = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "pretrain" / until).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL, **settings)
    assert choice_of(tmp_path / "run") == choice_of(finished)
    for folder in ("encoder", *(f"{name}/encoder" for name in ("noise", "plain", "few"))):
        ours, theirs = (run / "pretrain" / folder / WEIGHTS for run in (tmp_path / "run", finished))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_graph_without_the_split_is_told_before_anything_is_trained(pipeline, tmp_path):
    with pytest.raises(
        DataError, match=r"no split 'absent'.* Or train the stage as it stands, .*: pretrain.choose=null"
    ):
        medgraph.run(pipeline, ["pretrain.choose.evaluator.splits=[absent]"], out=tmp_path / "run", device="cpu")
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_overrides_reach_every_candidate_and_the_stored_pipeline_repeats_the_choice(pipeline, tmp_path):
    changed = config.load(pipeline, ["pretrain.method.loss.temperature=0.4"])
    stage = changed.stages["pretrain"]
    assert {c.method["loss"]["temperature"] for c in stage.candidates.values()} == {0.4}
    assert [c.data["top_k"] for c in stage.candidates.values()] == [[20], [20], [2]]
    (tmp_path / "again.yaml").write_text(config.resolved(changed))
    assert config.load(tmp_path / "again.yaml").stages == {
        name: replace(stage, config_path=None) for name, stage in changed.stages.items()
    }
    assert config.load(pipeline, ["pretrain.choose=null"]).stages["pretrain"].candidates == {}


CHOOSE, CANDIDATES = "pretrain.choose", "pretrain.choose.candidates"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (f"{CANDIDATES}.few={{data.topk: [3]}}", r"pretrain/few\.data\.topk: .*did you mean 'top_k'"),
        (f"{CANDIDATES}.few={{method.loss.temperature: 0}}", r"pretrain/few\.method\.loss\.temperature: expected"),
        (f"{CANDIDATES}.few={{dat.top_k: [3]}}", r"candidates\.few: expected keys below data, method, train, got"),
        (f"{CANDIDATES}.few={{evaluator.lr: 1}}", r"candidates\.few: expected keys below data, method, train, got"),
        (f"{CANDIDATES}.few={{data.top_k.x: 3}}", r"candidates\.few: data\.top_k\.x: "),
        (f"{CANDIDATES}.few=[1]", r"candidates: expected dict"),
        (f"{CANDIDATES}.encoder={{}}", r"candidates\.encoder: expected a name .* but not encoder or model"),
        (f"{CANDIDATES}.Few={{}}", r"candidates\.Few: expected a name of small letters"),
        (f"{CANDIDATES}={{one: {{}}}}", r"candidates: number: expected 2 or more, got 1"),
        ("pretrain.evaluator={name: node_probe}", r"pretrain\.evaluator: has no effect beside choose"),
        ("pretrain.data.topk=[1]", r"pretrain\.data\.topk"),
    ],
)
def test_mistakes_are_told_once_and_where(pipeline, change, told):
    with pytest.raises(ConfigError, match=told) as caught:
        config.load(pipeline, [change])
    if not change.startswith("pretrain.data"):  # which the probe shares
        assert len(str(caught.value).splitlines()) == 1


def test_only_what_scores_validation_can_choose(pipeline):
    with pytest.raises(ConfigError, match=r"choose\.evaluator: node_neighbors cannot score validation .* node_probe"):
        config.dry_build(config.load(pipeline, [f"{CHOOSE}.evaluator={{name: node_neighbors}}"]))


def test_values_of_a_candidate_that_do_not_fit_the_data_are_told(pipeline):
    with pytest.raises(ConfigError, match=r"pretrain/few\.data\.top_k: expected one number, or 2"):
        config.dry_build(config.load(pipeline, [f"{CANDIDATES}.few={{data.top_k: [1, 2, 3]}}"]))


def test_a_later_stage_has_to_take_the_encoder_of_every_candidate(pipeline, tmp_path):
    path = tmp_path / "wide.yaml"
    differing = CHOICE.replace("few: {", "few: {method.encoder.dim: 8, ")
    path.write_text(choosing(ENCODER, 20, differing, finetune=True))
    with pytest.raises(
        ConfigError, match=r"finetune\.method\.encoder: starts from stage 'pretrain/few', but"
    ) as caught:
        check_handovers(config.load(path))
    assert len(str(caught.value).splitlines()) == 1
