import json

import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError
from medgraph.nn.encoders import ResNetEncoder
from medgraph.runner.encoder_folder import FACTS
from medgraph.runner.export import export_encoder, load_encoder, transfer

NODE = {"name": "resnet", "depth": 18, "width": 8, "stem": "small"}
SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=4)


@pytest.fixture
def exported(tmp_path):
    encoder = ResNetEncoder(SPEC, depth=18, width=8).eval()
    export_encoder(tmp_path, encoder, NODE, SPEC, {"stage": "pretrain"})
    return tmp_path, encoder


def test_the_loaded_encoder_gives_the_same_features(exported):
    folder, encoder = exported
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(load_encoder(folder)(x), encoder(x))


def test_transfer_names_what_it_takes(exported):
    folder, encoder = exported
    fresh = ResNetEncoder(SPEC, depth=18, width=8).eval()
    lists = transfer(folder, fresh)
    assert len(lists["taken"]) == len(encoder.state_dict())
    assert lists["left behind"] == lists["freshly initialised"] == []
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(fresh(x), encoder(x))


def test_another_width_is_refused(exported):
    with pytest.raises(CheckpointError, match="shapes disagree"):
        transfer(exported[0], ResNetEncoder(SPEC, depth=18, width=16))


def test_nothing_in_common_is_refused(exported):
    with pytest.raises(CheckpointError, match="none of its"):
        transfer(exported[0], torch.nn.Linear(2, 2))


def test_a_folder_without_encoder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"encoder\.json: no such file"):
        load_encoder(tmp_path)


def test_weights_that_do_not_fit_are_refused(exported):
    folder, _ = exported
    facts = json.loads((folder / FACTS).read_text())
    facts["encoder"]["width"] = 16
    (folder / FACTS).write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="does not fit the encoder"):
        load_encoder(folder)


def test_broken_facts_are_named(exported):
    (exported[0] / FACTS).write_text("{")
    with pytest.raises(
        CheckpointError, match=r"encoder\.json: expected JSON as a run writes it, but: Expecting property name"
    ):
        load_encoder(exported[0])
