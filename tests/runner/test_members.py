"""A stage that trains several networks and leaves one encoder of all."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference.answering import ANSWERING

import medgraph
from medgraph import config
from medgraph.data import formats
from medgraph.data.cases import of_part
from medgraph.data.samples import SampleSource
from medgraph.errors import CheckpointError, ConfigError
from medgraph.evaluation.node_scores import NodeProbe
from medgraph.evaluation.segmentation import SegmentationScores
from medgraph.runner.embed_nodes import embed_nodes
from medgraph.runner.encoder_folder import WEIGHTS, read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.handover import check_handovers
from medgraph.runner.model import find_model, load_model
from medgraph.runner.predict import predict

PIPELINE = """
name: several
seed: 3
stages:
  pretrain:
    config:
      kind: train
      data: {name: metapath_views, source: {name: planted_graph, num_targets: 150}, top_k: [20], ties: random}
      method:
        name: meow
        encoder: {name: metapath, dim: 16, output: joined}
        loss: {name: info_nce}
        prototype_weight: 0.0
        num_clusters: [1]
        embedding_dim: 16
      train: {epochs: 12, batch_size: 1, members: 3, optimizer: {name: adam, lr: 0.005}, schedule: {name: constant}}
  probe:
    start_from: pretrain
    config: {kind: evaluate, evaluator: {name: node_probe, num_probes: 3, num_steps: 40}}
  finetune:
    start_from: pretrain
    config:
      kind: train
      data: {name: labelled_nodes, graph_data: {name: metapath_views, source: {name: planted_graph, num_targets: 150}}}
      method:
        name: node_classification
        encoder: {name: ensemble, encoders: [ONE, ONE, ONE]}
      train: {epochs: 2, batch_size: 1, optimizer: {name: adam}, schedule: {name: constant}}
""".replace("ONE", "{name: metapath, dim: 16, output: joined, dropout: 0.5}")
CHOOSE = (
    "pretrain.choose={evaluator: {name: node_probe, num_probes: 3, num_steps: 40}, "
    "candidates: {noise: {data.feature_mask: 0.99, train.epochs: 1}, plain: {}}}"
)
ALL = ("data", "method", "evaluator", "train", "compare", "choose")
MEMBERS = ("member-1", "member-2", "member-3")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("several") / "several.yaml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def finished(pipeline):
    return medgraph.run(pipeline, out=pipeline.parent / "run", device="cpu")


@pytest.fixture(scope="module")
def chosen(pipeline):
    return medgraph.run(pipeline, [CHOOSE], out=pipeline.parent / "chosen", device="cpu")


def views_of(run):
    facts = read_facts(run / "pretrain" / "encoder")["facts"]
    data = config.build(facts["data"], "data", seed=facts["seed"])
    return data, data.train().views


@torch.no_grad()
def test_the_encoder_joins_networks_that_differ_and_saw_the_same_data(finished):
    _, views = views_of(finished)
    encoders = [load_encoder(finished / "pretrain" / member / "encoder") for member in MEMBERS]
    vectors = [encoder(views.of_member(index)) for index, encoder in enumerate(encoders)]
    joined = load_encoder(finished / "pretrain" / "encoder")(views)
    torch.testing.assert_close(joined, torch.cat(vectors, dim=1) / 3**0.5)
    learned = [each[:, :16] for each in vectors]
    assert all((learned[0] - each).abs().mean() > 0.05 for each in learned[1:])
    averages = [each[:, 16:] for each in vectors]  # of one graph, with ties drawn by the seed of the data
    torch.testing.assert_close(averages[0], averages[1], rtol=0, atol=0)


@torch.no_grad()
def test_a_member_embedded_alone_sees_the_masks_it_was_trained_on(finished, tmp_path):
    _, views = views_of(finished)
    folder = finished / "pretrain" / "member-3" / "encoder"
    embed_nodes(folder, tmp_path / "nodes", device="cpu")
    found = torch.from_numpy(np.load(tmp_path / "nodes" / "nodes.npy"))
    torch.testing.assert_close(found, load_encoder(folder)(views.of_member(2)))
    assert (found - load_encoder(folder)(views)).abs().max() > 1e-3


def test_a_damaged_number_of_the_member_is_told(finished, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(finished / "pretrain" / "member-3" / "encoder", folder)
    facts = json.loads((folder / "encoder.json").read_text())
    assert facts["facts"]["member"] == 2
    facts["facts"]["member"] = "two"
    (folder / "encoder.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="member is 'two', expected a number from 0"):
        embed_nodes(folder, tmp_path / "nodes", device="cpu")


def test_members_are_trained_and_joined_in_mini_batches_too(pipeline, tmp_path):
    batches = {"name": "metapath_batches", "source": {"name": "planted_graph", "num_targets": 150}, "top_k": [20]}
    method = {
        "name": "meow_sampled",
        "encoder": {"name": "metapath_sampled", "dim": 16},
        "loss": {"name": "given_weight_info_nce"},
        "num_clusters": [3],
    }
    node = {
        "kind": "train",
        "data": batches,
        "method": method,
        "train": {
            "epochs": 2,
            "batch_size": 50,
            "members": 2,
            "optimizer": {"name": "adam"},
            "schedule": {"name": "constant"},
        },
    }
    path = tmp_path / "batches.yaml"
    path.write_text(json.dumps({"name": "batches", "seed": 3, "stages": {"pretrain": {"config": node}}}))
    run = medgraph.run(path, out=tmp_path / "run", device="cpu") / "pretrain"
    _, views = views_of(run.parent)
    with torch.no_grad():
        vectors = [load_encoder(run / f"member-{index + 1}" / "encoder")(views.of_member(index)) for index in range(2)]
        joined = load_encoder(run / "encoder")(views)
    torch.testing.assert_close(joined, torch.cat(vectors, dim=1) / 2**0.5)
    assert (vectors[0] - vectors[1]).abs().mean() > 0.02


def test_the_first_member_is_what_the_stage_trains_alone(pipeline, finished, tmp_path):
    one = "{name: metapath, dim: 16, output: joined}"
    changes = ["pretrain.train.members=1", f"finetune.method.encoder={one}"]
    run = medgraph.run(pipeline, changes, out=tmp_path / "run", device="cpu")
    alone = run / "pretrain" / "encoder" / WEIGHTS
    assert alone.read_bytes() == (finished / "pretrain" / "member-1" / "encoder" / WEIGHTS).read_bytes()
    assert not (run / "pretrain" / "member-1").exists()


def test_later_stages_take_all_members(finished, capsys):
    (row,) = json.loads((finished / "probe" / "scores.json").read_text())["rows"]
    data, _ = views_of(finished)
    model = SimpleNamespace(encoder=load_encoder(finished / "pretrain" / "encoder"))
    (again,) = NodeProbe(num_probes=3, num_steps=40).evaluate(model, data).rows
    assert row["macro_f1"] == again["macro_f1"]
    assert "Attention of each meta-path" in (finished / "report.html").read_text()
    before, after = (load_encoder(finished / stage / "encoder") for stage in ("pretrain", "finetune"))
    moved = [(a - b).abs().max() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert max(moved) > 0
    assert max(moved) < 0.01  # two steps away from what was handed over, and not drawn anew


def test_the_best_candidate_gets_its_further_members(chosen):
    path = chosen / "pretrain"
    choice = json.loads((path / "choice.json").read_text())
    best = choice["best"]
    other = {"noise": "plain", "plain": "noise"}[best]
    assert sorted(each.name for each in path.glob("member-*")) == ["member-2", "member-3"]
    assert choice["validation"][best] > choice["validation"][other]
    data, views = views_of(chosen)
    joined = load_encoder(path / "encoder")
    assert choice["joined"] == NodeProbe(num_probes=3, num_steps=40).validate(SimpleNamespace(encoder=joined), data)
    with torch.no_grad():
        first = load_encoder(path / best / "encoder")(views)
        torch.testing.assert_close(joined(views)[:, : first.shape[1]] * 3**0.5, first)
    assert f"(all its members {choice['joined']:.2f})" in (path / "encoder" / "README.md").read_text()
    assert read_facts(path / "encoder")["facts"]["choice"] == choice


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), (CHOOSE,)])
def test_killed_it_ends_with_the_same_weights_and_trains_no_member_twice(pipeline, finished, chosen, tmp_path, extra):
    command = [sys.executable, "-m", "medgraph", "run", str(pipeline), *extra, "--out", "run", "--device", "cpu"]
    settings = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings)
    deadline = time.monotonic() + 120
    until = tmp_path / "run" / "pretrain" / "member-3" / "metrics.jsonl"
    while not until.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    done = subprocess.run([*command, "--resume"], check=True, stdout=subprocess.PIPE, text=True, **settings)
    assert "member-2: finished before, skipped" in done.stdout
    ours, theirs = (run / "pretrain" / "encoder" / WEIGHTS for run in (tmp_path / "run", chosen if extra else finished))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_stage_of_one_network_is_the_stage_it_was_before_there_were_members(pipeline):
    """Its digest, so that an older run goes on."""
    several, alone = (config.load(pipeline, [f"pretrain.train.members={n}"]).stages["pretrain"] for n in (3, 1))
    assert several.digest != alone.digest
    facts = {key: value for key, value in asdict(alone).items() if key in ("kind", "start_from", *ALL)}
    del facts["choose"], facts["train"]["members"], facts["train"]["self_training"]
    assert alone.digest == hashlib.sha256(json.dumps([facts, 3], sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["pretrain.train.members=0"], r"pretrain\.train\.members: expected a number from 1 to 100, got 0"),
        (["pretrain.evaluator={name: node_probe}"], r"pretrain\.evaluator: meow leaves no model"),
        (["pretrain.train.members=2"], r"finetune\.method\.encoder: .* encoders is "),
        (
            ["finetune.method.encoder={name: metapath, dim: 16}"],
            r"shares no tensor .*\(ensemble there, metapath here\)",
        ),
        (["finetune.method.encoder.encoders=[]"], r"encoders: expected at least one, got none"),
        (["pretrain.method.encoder={name: ensemble, encoders: [{name: metapath}]}"], r"a coarse and a fine view"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(pipeline, changes, told):
    def check():
        changed = config.load(pipeline, changes)
        config.dry_build(changed)
        check_handovers(changed)

    with pytest.raises(ConfigError, match=told):
        check()


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    path = tmp_path_factory.mktemp("answering") / "answering.yaml"
    path.write_text(ANSWERING)
    return medgraph.run(path, out=path.parent / "run", device="cpu")


def test_fine_tuned_members_answer_together_and_are_scored_so(segmented):
    folder, names = find_model(segmented)
    assert names == ["fine", "fine/member-1", "fine/member-2"]
    loaded = load_model(folder)
    members = [load_model(segmented / name / "model").method for name in names[1:]]
    images = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    probabilities = [member.predict(images).softmax(dim=1) for member in members]
    assert (probabilities[0] - probabilities[1]).abs().max() > 0.01
    torch.testing.assert_close(loaded.method.predict(images).softmax(dim=1), (probabilities[0] + probabilities[1]) / 2)
    data = config.build({**loaded.facts["data"], "num_labelled": 2}, "data", seed=3)
    again = SegmentationScores().evaluate(loaded.method, data)
    assert json.loads((segmented / "fine" / "scores.json").read_text())["rows"] == again.rows


@pytest.mark.parametrize("members", ["two", 0, True, None])
def test_a_damaged_number_of_members_is_told(segmented, tmp_path, members):
    folder = tmp_path / "model"
    shutil.copytree(segmented / "fine" / "model", folder)
    stored = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**stored, "members": members}))
    with pytest.raises(CheckpointError, match=rf"model\.json: members is {members!r}, expected a number of networks"):
        load_model(folder)


def test_the_joined_model_predicts_files(segmented, tmp_path):
    scan = tmp_path / "scans" / "a.nii.gz"
    scan.parent.mkdir()
    shutil.copy(of_part(SampleSource(), "test")[0].image, scan)
    out = predict(segmented, scan.parent, tmp_path / "out", device="cpu", probabilities=True)
    assert formats.read_grid(out / "a.nii.gz").shape == formats.read_grid(scan).shape
    assert json.loads((out / "predictions.json").read_text())["model"] == str(segmented / "fine" / "model")


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        (
            "quickstart",
            ["verdict.train.members=2"],
            r"verdict\.train\.members: arms are compared one network at a time",
        ),
        ("meow-acm", ["pretrain.train.members=0"], r"pretrain\.train\.members: expected a number from 1 to 100, got 0"),
    ],
)
def test_shipped_pipelines_tell_where_members_have_no_place(name, changes, told):
    with pytest.raises(ConfigError, match=told):
        config.load(name, changes)
