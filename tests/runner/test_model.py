"""A fine-tuned model is rebuilt where its data are not, and found in its run folder."""

import json
from dataclasses import replace

import pytest
import torch

from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError
from medgraph.runner.model import FACTS, export_model, find_model, load_model


def test_the_loaded_model_gives_the_same_logits(tmp_path, stage, spec):
    method = config.build(stage.method, "methods", spec=spec, seed=3).eval()
    export_model(tmp_path / "model", method, stage, spec, {"seed": 3})
    loaded = load_model(tmp_path / "model")
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(loaded.method.predict(images), method.predict(images))
    assert not loaded.method.training
    assert loaded.spec == spec
    assert loaded.data.size == (16, 16)


def test_a_method_that_predicts_nothing_is_not_kept(tmp_path, stage, spec):
    export_model(tmp_path / "model", torch.nn.Linear(2, 2), stage, spec, {"seed": 3})
    assert not (tmp_path / "model").exists()


def test_the_pretrained_arm_with_most_labels_is_taken(tmp_path, stage, spec):
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    for arm, labelled, seed in (
        ("from scratch", 8, 1),
        ("pretrained", 2, 1),
        ("pretrained", 8, 2),
        ("pretrained", 8, 1),
    ):
        facts = {"arm": arm, "num_labelled": labelled, "seed": seed}
        export_model(tmp_path / "verdict" / f"{arm[:3]}-{labelled}-{seed}" / "model", method, stage, spec, facts)
    folder, names = find_model(tmp_path)
    assert names == ["verdict/pre-8-1", "verdict/pre-8-2", "verdict/pre-2-1", "verdict/fro-8-1"]
    assert folder == tmp_path / "verdict/pre-8-1/model"
    assert find_model(tmp_path, "verdict/fro-8-1")[0] == tmp_path / "verdict/fro-8-1/model"
    assert find_model(folder)[0] == folder
    with pytest.raises(CheckpointError, match=r"holds no model called 'x'. There are: verdict/pre-8-1, "):
        find_model(tmp_path, "x")


def test_a_share_of_the_labels_is_ranked_by_its_examples(tmp_path, stage, spec):
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    for labelled, examples in ((8, 80), (0.5, 200), (0.1, 40)):
        found, facts = replace(spec, num_examples=examples), {"arm": "pretrained", "num_labelled": labelled, "seed": 1}
        export_model(tmp_path / "verdict" / f"pretrained-{labelled}-seed1" / "model", method, stage, found, facts)
    names = [f"verdict/pretrained-{labelled}-seed1" for labelled in (0.5, 8, 0.1)]
    assert find_model(tmp_path) == (tmp_path / names[0] / "model", names)


def test_a_run_without_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no fine-tuned model"):
        find_model(tmp_path)


def test_broken_facts_and_foreign_weights_are_refused(run_folder):
    folder = run_folder / "fine" / "model"
    facts = json.loads((folder / FACTS).read_text())
    facts["spec"] = {**facts["spec"], "classes": ["a", "b", "c"]}
    (folder / FACTS).write_text(json.dumps(facts))
    assert ImageSpec(**{**facts["spec"], "size": (16, 16)}).num_classes == 3
    with pytest.raises(CheckpointError, match="does not fit the method"):
        load_model(folder)
    (folder / FACTS).write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.json: expected an object as a run writes it, with method"):
        load_model(folder)
