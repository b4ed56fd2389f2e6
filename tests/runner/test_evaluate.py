import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from medgraph import config
from medgraph.errors import ConfigError
from medgraph.evaluation.scores import Scores
from medgraph.runner import evaluate as stage_file
from medgraph.runner.evaluate import evaluate_stage
from medgraph.runner.export import load_encoder, untrained
from medgraph.runner.folder import RunFolder
from medgraph.runner.runner import run

PROBE = """
name: probe
seed: 3
stages:
  pretrain:
    config:
      kind: train
      data: {name: slices, source: {name: sample}}
      method:
        name: intra
        encoder: {name: resnet, depth: 18, width: 4}
        views: {name: multi_crop, sizes: [24], counts: [2], areas: [[0.6, 1.0]]}
        loss: {name: prototype_cross_entropy}
        assigner: {name: swav, num_prototypes: 8, queue_size: 0}
      train: {epochs: 1, steps_per_epoch: 2, batch_size: 16, optimizer: {name: adamw}, schedule: {name: cosine}}
  content:
    start_from: pretrain
    config:
      kind: evaluate
      data: {name: labelled_slices, source: {name: sample}, num_labelled: 4}
      evaluator: {name: linear_probe}
"""


INSTEAD = {
    "segmentation": "linear_probe",
    "classification": "logistic_probe",
    "regression": "ridge_probe",
    "node_classifier": "node_probe",
}


@pytest.mark.parametrize(("name", "instead"), INSTEAD.items())
def test_a_fine_tuned_model_cannot_be_scored_from_an_encoder_alone(name, instead):
    stage = SimpleNamespace(name="probe", evaluator={"name": name})
    with pytest.raises(
        ConfigError, match=rf"probe\.evaluator: {name} needs a fine-tuned model.* or use {instead} here"
    ):
        evaluate_stage(stage, None, None, "cpu", None)


def test_an_encoder_is_scored_beside_the_same_network_untrained(tmp_path, capsys):
    path = tmp_path / "probe.yaml"
    path.write_text(PROBE)
    folder = run(config.load(str(path)), out=tmp_path / "run", device="cpu")
    assert "trained, against the same network untrained:" in capsys.readouterr().out
    trained, fresh = load_encoder(folder / "pretrain" / "encoder"), untrained(folder / "pretrain" / "encoder", seed=3)
    assert not torch.equal(trained.state_dict()[name := next(iter(trained.state_dict()))], fresh.state_dict()[name])
    assert (folder / "content" / "scores.json").read_text() != (folder / "content" / "untrained.json").read_text()
    assert (folder / "content" / "paired.json").exists()
    again = ["content.data.upright=false"]
    with pytest.warns(UserWarning, match="its encoder saw slices upright, the data of this stage lay them with rows"):
        run(config.load(str(path), again), out=folder, resume=True, device="cpu")


def test_rows_of_unlike_scores_are_compared_one_by_one_and_never_averaged(tmp_path, capsys, monkeypatch):
    def scores(auc, r_squared):
        rows = [
            {"case": "group, AUC", "label": "salient, linear", "score": auc, "chance": 0.5, "low": 0.1, "high": 0.9},
            {"case": "age, R squared", "label": "salient, linear", "score": r_squared, "chance": 0.0, "examples": 40},
            {"case": "norm, background over target", "label": "salient", "score": 0.2},
        ]
        shifts = (-0.1, 0.0, 0.1)
        resampled = [
            {"case": row["case"], "label": row["label"], "scores": [row["score"] + shift for shift in shifts]}
            for row in rows[:2]
        ]
        return Scores(rows, resampled=resampled)

    found = {"scores": scores(0.9, 0.4), "untrained": scores(0.6, 0.5)}
    folder = evaluated(found, tmp_path, monkeypatch)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        "group, AUC, salient, linear: 0.9000, 0.6000, +0.3000 [+0.3000, +0.3000]",
        "age, R squared, salient, linear: 0.4000, 0.5000, -0.1000 [-0.1000, -0.1000]",
    ]
    assert len(json.loads((folder.stage("probe") / "paired.json").read_text())) == 2


def test_what_needs_no_learning_is_told_and_not_compared(tmp_path, capsys, monkeypatch):
    def scores(auc):
        rows = {"case": "test", "auc": auc, "auc_std": 0.5, "floor_averaged_auc": 70.0, "floor_averaged_auc_std": 0.1}
        return Scores([{**rows, "label": "20"}, {**rows, "label": "40"}])

    evaluated({"scores": scores(80.0), "untrained": scores(60.0)}, tmp_path, monkeypatch)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        *(f"{label}, AUC: 80.0000, 60.0000, +20.0000, 1 pair: no interval" for label in ("20", "40", "mean")),
        "mean, floor averaged auc: 70.0000, which needs no learning",
    ]


def evaluated(found, tmp_path, monkeypatch):
    """A folder in which an evaluate stage found these scores, by arm."""
    monkeypatch.setattr(stage_file, "evaluate", lambda evaluator, model, data, path, device: found[path.stem])
    monkeypatch.setattr(stage_file, "load_encoder", lambda path: None)
    monkeypatch.setattr(stage_file, "read_facts", lambda path: {"facts": {}})
    monkeypatch.setattr(stage_file, "untrained", lambda path, seed: None)
    monkeypatch.setattr(stage_file.config, "build", lambda *arguments, **facts: None)
    stage = SimpleNamespace(name="probe", evaluator={"name": "separation"}, data={}, start_from="pretrain")
    folder = RunFolder(tmp_path)
    folder.stage("probe").mkdir(parents=True)
    evaluate_stage(stage, SimpleNamespace(seed=0, stages={}), folder, "cpu", Console(width=120))
    return folder
