from types import SimpleNamespace

import pytest
import torch

from medgraph import config
from medgraph.errors import ConfigError
from medgraph.runner.evaluate import evaluate_stage
from medgraph.runner.export import load_encoder, untrained
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
