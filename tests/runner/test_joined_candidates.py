"""Candidates of a stage that are put side by side, each with the graph as it was trained on."""

import json
import shutil

import numpy as np
import pytest
import torch
from reference.candidates import choosing, chosen_anew, embedded

import medgraph
from medgraph import config
from medgraph.errors import ConfigError, DataError
from medgraph.runner import checkpoint
from medgraph.runner.encoder_folder import WEIGHTS, read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.handover import check_handovers
from medgraph.runner.kept import ALL, keep_better

ENCODER = "name: metapath, dim: 8, output: joined"
CHOICE = """
join: true
candidates:
  plain: {}
  walks: {data.target_features: walks}
  same: {data.resample_masks_every: 1000}
  few: {data.top_k: [2], data.idf_power: 0.5}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("joining") / "joining.yaml"
    path.write_text(choosing(ENCODER, 2, CHOICE))
    return path


@pytest.fixture(scope="module")
def finished(pipeline):
    return medgraph.run(pipeline, out=pipeline.parent / "run", device="cpu")


@pytest.fixture(scope="module")
def joined(finished, tmp_path_factory):
    return chosen_anew(finished, tmp_path_factory.mktemp("joined") / "run", 10.0)


def test_all_are_kept_where_that_is_better_and_each_sees_what_it_was_trained_on(joined, tmp_path):
    stage, choice = joined
    assert choice["best"] == "plain"
    assert choice["made"][ALL] > 50
    together = embedded(stage / "encoder", tmp_path / "together")
    alone = [embedded(stage / name / "encoder", tmp_path / name) for name in ("plain", "walks", "few")]
    assert len({part.tobytes() for part in alone}) == 3
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1) / 3**0.5, rtol=1e-6)
    (row,) = json.loads((stage.parent / "probe" / "scores.json").read_text())["rows"]
    assert choice["made"][ALL] == pytest.approx(row["validation_macro_f1"], abs=1e-9)


def test_what_is_kept_is_told(joined):
    stage, choice = joined
    told = f"all are kept side by side, with {choice['made'][ALL]:.2f} on validation; plain 10.00, walks 10.00"
    card = (stage / "encoder" / "README.md").read_text()
    assert told in card
    assert "stage pretrain\n" in card
    assert told in (stage.parent / "report.html").read_text()


def test_one_alone_is_kept_where_all_are_not_better(finished, tmp_path):
    stage, choice = chosen_anew(finished, tmp_path / "run", 100.0)
    assert (stage / "encoder" / WEIGHTS).read_bytes() == (stage / "plain" / "encoder" / WEIGHTS).read_bytes()
    others = "; walks 100.00, same 100.00, few 100.00"
    told = f"plain is kept, with 100.00 on validation{others}; all side by side {choice['made'][ALL]:.2f}"
    assert told in (stage / "encoder" / "README.md").read_text()


def test_members_of_the_best_are_put_beside_the_others_with_masks_of_their_own(pipeline, tmp_path):
    candidates = "pretrain.choose.candidates={plain: {}, few: {data.top_k: [2]}}"
    changes = ["pretrain.train.members=2", "pretrain.train.epochs=1", candidates]
    path = medgraph.run(pipeline, changes, out=tmp_path / "run", device="cpu") / "pretrain"
    choice = json.loads((path / "choice.json").read_text())
    assert list(choice["made"]) == [ALL]
    assert "joined" in choice
    stage = config.load(pipeline, changes).stages["pretrain"]
    evaluator = config.build(stage.choose.evaluator, "evaluators", seed=3)
    keep_better(path, stage, choice | {"joined": 0.0}, 3, evaluator, "cpu")
    (other,) = {"plain", "few"} - {choice["best"]}
    folders = [path / name / "encoder" for name in (choice["best"], "member-2", other)]
    alone = [embedded(folder, tmp_path / f"{number}") for number, folder in enumerate(folders)]
    together = embedded(path / "encoder", tmp_path / "together")
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1) / 3**0.5, rtol=1e-6)
    views = config.build(read_facts(path / "encoder")["facts"]["data"], "data", seed=3).views
    first, second, third = ([p.masked.dense() for p in views.of_member(k).paths] for k in range(3))
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], third[0])


def test_another_graph_is_refused_for_its_vectors_of_walks_and_else_embedded(joined, tmp_path):
    stage, _ = joined
    other = ["source.graph_seed=4"]
    with pytest.raises(DataError, match=r"features of .* are vectors of walks, which mean nothing in another graph"):
        embedded(stage / "encoder", tmp_path / "out", changes=other)
    facts = read_facts(stage / "encoder")
    data, encoders = facts["facts"]["data"], facts["encoder"]["encoders"]
    for kept in (data["data"], data["num_networks"], encoders, facts["spec"]["parts"]):
        del kept[1]  # walks
    tensors, _ = checkpoint.read_tensors(stage / "encoder" / WEIGHTS)
    tensors = {n.replace("encoders.2.", "encoders.1."): v for n, v in tensors.items() if "encoders.1." not in n}
    shutil.copytree(stage / "encoder", tmp_path / "encoder")
    checkpoint.write_tensors(tmp_path / "encoder" / WEIGHTS, tensors, {})
    checkpoint.write_json(tmp_path / "encoder" / "encoder.json", facts)
    with pytest.warns(UserWarning, match="the graph is not the one trained on"):
        found = embedded(tmp_path / "encoder", tmp_path / "other", changes=other)
    assert len(found) == 150
    encoder = load_encoder(tmp_path / "encoder")
    assert found.shape[1] == encoder.out_dim == 32


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("pretrain.choose.candidates.few={data.name: metapath_batches}", "metapath on metapath_batches, metapath on"),
        ("pretrain.choose.join=maybe", "join: expected"),
    ],
)
def test_what_cannot_be_put_side_by_side_is_told_before_anything_is_trained(pipeline, change, told):
    with pytest.raises(ConfigError, match=told):
        config.dry_build(config.load(pipeline, [change]))


def test_a_stage_that_would_train_on_from_several_networks_is_refused(pipeline, tmp_path):
    path = tmp_path / "fine.yaml"
    path.write_text(choosing(ENCODER, 2, CHOICE, finetune=True))
    told = r"finetune\.start_from: stage 'pretrain' may put its .* Set pretrain\.choose\.join to false"
    with pytest.raises(ConfigError, match=told):
        check_handovers(config.load(path))
    alike = "pretrain.choose.candidates={plain: {}, few: {data.top_k: [2]}}"
    check_handovers(config.load(path, ["pretrain.choose.join=false", alike]))


def test_joined_views_are_checked():
    part = config.load("meow-acm").stages["pretrain"].data
    wrong = {(1,): "num_networks: expected one for each of 2 parts, got 1", (1, 0): "num_networks: expected 1 or more"}
    for numbers, told in wrong.items():
        with pytest.raises(ConfigError, match=told):
            config.build({"name": "joined_views", "data": [part, part], "num_networks": list(numbers)}, "data", seed=0)
