"""Checked parts become objects; constructor errors carry place and key."""

import pytest
import torch
from config.conftest import CONFIG

from medgraph import config
from medgraph.errors import ConfigError


def test_parts_spec_and_seed_arrive_built(write):
    stage = config.load(write()).stages["first"]
    data = config.build(stage.data, "data", seed=7)
    assert (data.root, data.seed, data.size) == ("here", 7, (4, 8))
    method = config.build(stage.method, "methods", spec=data.spec, seed=7)
    assert method.loss.temperature == 0.1
    assert [flip.probability for flip in method.transforms] == [0.5, 1]
    assert method.weight.shape == (16, 4)


def test_dry_build_needs_no_memory_and_tells_nothing_when_all_is_well(write):
    assert config.dry_build(config.load(write())) == []
    huge = config.load(write(), ("first.method.width=4000000000000",))
    assert config.dry_build(huge) == []
    assert torch.empty(1).device.type == "cpu"


def test_constructor_error_has_place_and_key(write):
    text = CONFIG.replace("  name: fake\n  loss", "  name: fake\n  width: 7\n  loss")
    with pytest.raises(ConfigError) as caught:
        config.dry_build(config.load(write(text), ("second.method.width=9",)))
    assert str(caught.value).splitlines() == [
        "stage.yaml:5:3: first.method.width: expected a multiple of 4, got 7",
        "command line: second.method.width: expected a multiple of 4, got 9",
    ]


@pytest.mark.parametrize("width", [2**62, 2**80])
def test_a_size_too_large_for_torch_has_its_place(write, width):
    with pytest.raises(ConfigError) as caught:
        config.dry_build(config.load(write(), (f"first.method.width={width}",)))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("stage.yaml:3:1: first.method: ")
    assert "verflow" in line


def test_constructor_error_without_places_names_the_key(fake_parts):
    with pytest.raises(ConfigError, match=r"^temperature: expected a number above 0"):
        config.build({"name": "fake", "temperature": -1, "mode": "hard"}, "losses")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("content.data.source.fractions=[0.5,0.5,0.5]", r"fractions: expected three numbers that sum to 1"),
        ("content.data.source.images=/a/*", r"images: expected a glob below the folder"),
        ("content.data.source.images='**sub'", r"images: expected a glob below the folder"),
        ("content.data.source.subject_pattern=(", r"subject_pattern: '\(' is no regular expression: missing \)"),
        ("content.data.source.subject_pattern=sub-.*", r"subject_pattern: expected a regular expression with a group"),
    ],
)
def test_what_a_source_cannot_use_has_its_place(override, message, tmp_path):
    source = f"content.data.source={{name: folder, root: '{tmp_path}', images: '*.nii.gz', classes: [background, a]}}"
    with pytest.raises(ConfigError, match=r"command line: content\.data\.source\." + message):
        config.dry_build(config.load("quickstart", [source, override]))


def test_absent_data_is_a_note_not_an_error(write):
    notes = config.dry_build(config.load(write(), ("second.data.root=absent",)))
    assert notes == ["command line: second.data.root: data not found: absent: expected a folder"]


def test_data_that_are_there_and_cannot_be_used_are_a_mistake_with_their_place(tmp_path):
    line = f"pretrain.data.source={{name: folder, root: '{tmp_path}'}}"
    with pytest.raises(
        ConfigError, match=r"command line: pretrain\.data\.source\.root: .*no file matches '\*\.nii\.gz'"
    ):
        config.dry_build(config.load("quickstart", [line]))


@pytest.mark.parametrize(
    ("name", "override", "given"),
    [
        ("quickstart", "pretrain.train.batch_size=5000", "5000, but the data have 1160 training examples"),
        ("quickstart", "verdict.train.batch_size=500", "500, but the data have 199 training examples with 4 labelled"),
        ("smoke-volume", "joint.train.batch_size=25", "25, but the data have 24 training examples"),
        ("smoke-meow", "finetune.train.batch_size=2", "2, but the data have 1 training example"),
    ],
)
def test_a_batch_of_more_than_all_examples_is_a_mistake(name, override, given):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"command line: {key}: one batch takes {given}\. Lower it"):
        config.dry_build(config.load(name, [override]))
    at_most = int(given.split("have ")[1].split()[0])
    assert config.dry_build(config.load(name, [f"{key}={at_most}"])) == []


def test_a_part_stored_before_a_parameter_existed_gets_its_default(fake_parts):
    assert config.build({"name": "fake", "mode": "soft"}, "losses").temperature == 0.1
    data = config.build({"name": "fake", "root": "here"}, "data", seed=7)
    assert data.size == config.build({"name": "fake", "root": "here", "size": list(data.size)}, "data", seed=7).size
    with pytest.raises(ConfigError, match=r"^root: \w+ needs it, but it was not stored"):
        config.build({"name": "fake"}, "data", seed=7)
