from dataclasses import replace

import pytest
import torch

from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError
from medgraph.losses.dice import DiceCrossEntropy
from medgraph.nn.encoders import ResNetEncoder
from medgraph.runner.checkpoint import read_tensors, write_tensors
from medgraph.runner.export import export_encoder, load_encoder, transfer
from medgraph.runner.handover import check_handovers
from medgraph.runner.summary import example_input
from medgraph.transforms.segmentation_augment import SegmentationAugment
from medgraph.volume.segmentation import Segmentation

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(16, 16), num_examples=9, num_volumes=9, num_slices=(3, 5))
INNER = {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
VOLUME = {
    "name": "volume", "slice_encoder": INNER, "attention": {"name": "full", "num_heads": 2}, "dim": 8, "num_layers": 1,
    "hidden_dim": 8, "dropout": 0.0, "dropout_place": "branch", "position": "slice", "repeat_last": False,
}  # fmt: skip


def made():
    return config.build(VOLUME, "encoders", spec=SPEC)


def test_a_slice_encoder_enters_a_volume_encoder(tmp_path):
    slices, volumes = ResNetEncoder(SPEC, width=4), made()
    export_encoder(tmp_path, slices, INNER, SPEC, {})
    lists = transfer(tmp_path, volumes)
    assert len(lists["taken"]) == len(slices.state_dict())
    assert all(name.startswith(("tokens", "transformer")) for name in lists["freshly initialised"])
    assert torch.equal(volumes.slice_encoder.network.conv1.weight, slices.network.conv1.weight)


def test_a_slice_encoder_leaves_a_volume_encoder(tmp_path):
    slices, volumes = ResNetEncoder(SPEC, width=4).eval(), made().eval()
    export_encoder(tmp_path, volumes, VOLUME, SPEC, {})
    lists = transfer(tmp_path, slices)
    assert lists["freshly initialised"] == []
    assert any(name.startswith("transformer") for name in lists["left behind"])
    x = torch.rand(2, 1, 16, 16)
    for ours, theirs in zip(slices.pyramid(x), volumes.slice_encoder.pyramid(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_unet_reads_the_maps_of_the_slice_encoder_that_a_volume_stage_left(tmp_path):
    """The maps under the decoder are those of pre-training on the same input (10.11)."""
    volumes = made().eval()
    export_encoder(tmp_path, volumes, VOLUME, SPEC, {})
    labelled = replace(SPEC, classes=("background", "front"), num_volumes=0, num_slices=())
    method = Segmentation(labelled, ResNetEncoder(labelled, width=4), SegmentationAugment(), DiceCrossEntropy()).eval()
    transfer(tmp_path, method.encoder)
    seen = []
    method.decoder.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[1]))
    x = torch.rand(2, 1, 16, 16)
    method.predict(x)
    assert len(seen) == 4
    for ours, theirs in zip(seen, volumes.slice_encoder.pyramid(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_volume_encoder_is_rebuilt_with_its_token_statistics(tmp_path):
    volumes = made().eval()
    volumes.tokens.fit_(torch.randn(20, 8))
    export_encoder(tmp_path, volumes, VOLUME, SPEC, {})
    again = load_encoder(tmp_path)
    x = eval(example_input(tmp_path), {"torch": torch})
    assert x.shape == (1, 3, 1, 16, 16)
    assert torch.equal(again(x), volumes(x))
    assert torch.equal(again.tokens.std, volumes.tokens.std)


def test_a_color_stem_becomes_a_gray_one_by_summing(tmp_path):
    """On gray the one-channel encoder equals the three-channel one on three equal channels (10.11)."""
    color_spec = ImageSpec(spatial_dims=2, channels=3, size=(16, 16), num_examples=9)
    color, gray = ResNetEncoder(color_spec, width=4).eval(), ResNetEncoder(SPEC, width=4).eval()
    export_encoder(tmp_path, color, INNER, color_spec, {})
    transfer(tmp_path, gray)
    x = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(gray(x), color(x.repeat(1, 3, 1, 1)), rtol=0, atol=1e-4)
    with pytest.raises(CheckpointError, match="shapes disagree"):
        transfer(tmp_path, ResNetEncoder(SPEC, width=8))


def pipeline(**changes):
    keys = {"stem": "verdict.method.encoder.stem", "width": "verdict.method.encoder.width"}
    return config.load("quickstart", [f"{keys[key]}={value}" for key, value in changes.items()])


def test_stages_that_fit_pass():
    check_handovers(pipeline())


@pytest.mark.parametrize("change", [{"stem": "imagenet"}, {"width": 8}])
def test_an_encoder_of_another_stem_or_width_is_refused_before_training(change):
    with pytest.raises(ConfigError, match=r"verdict.method.encoder: starts from stage 'pretrain', but network.conv1"):
        check_handovers(pipeline(**change))


def smoke(*changes):
    return config.load("smoke-volume", changes)


STAGES = "inter.method.encoder: starts from stage 'masked', but "


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            ["attention.num_heads=2", "attention.num_levels=4"],
            r"attention.num_heads is 4 there and 2 here \(1 more\): its weights would compute something else",
        ),
        (["attention={name: full}"], "attention.name is 'ms1d' there and 'full' here"),
        (["position=none"], "position is 'slice' there and 'none' here"),
    ],
)
def test_weights_of_equal_shape_that_would_compute_something_else_are_refused(changes, told):
    with pytest.raises(ConfigError, match=STAGES + told):
        check_handovers(smoke(*(f"inter.method.encoder.{change}" for change in changes)))


def test_another_stride_is_refused():
    changes = [f"{stage}.method.encoder={{name: conv}}" for stage in ("pretrain", "verdict")]
    check_handovers(config.load("quickstart", changes))
    with pytest.raises(ConfigError, match="'pretrain', but stride is 1 there and 2 here"):
        check_handovers(config.load("quickstart", [*changes, "verdict.method.encoder.stride=2"]))
    padded = "verdict.method.encoder={name: resnet_padded, depth: 18, width: 16, stem: small}"
    with pytest.raises(ConfigError, match="but name is 'resnet' there and 'resnet_padded' here"):
        check_handovers(config.load("quickstart", [padded]))


def test_what_tells_only_how_to_train_may_differ():
    changes = ("dropout=0.3", "dropout_place=output", "tokens_by_batch=true")
    check_handovers(smoke(*(f"inter.method.encoder.{change}" for change in changes)))


@pytest.mark.parametrize("given", [INNER, VOLUME])
def test_of_a_slice_and_a_volume_encoder_the_slice_encoder_is_compared(given, tmp_path):
    """Attention may be another where a stage on slices came between; what an older version stored has defaults."""
    older = (
        {**given, "slice_encoder": {"name": "resnet", "width": 4}}
        if given is VOLUME
        else {"name": "resnet", "width": 4}
    )
    export_encoder(tmp_path, config.build(given, "encoders", spec=SPEC), older, SPEC, {})
    keys = [f"verdict.start_from={tmp_path}", "verdict.data.size=[16, 16]"]
    fits = [*keys, "verdict.method.encoder={name: resnet, depth: 18, width: 4, stem: small}"]
    check_handovers(config.load("quickstart", fits))
    with pytest.raises(ConfigError, match="but depth is 18 there and 10 here"):
        check_handovers(config.load("quickstart", [*fits, "verdict.method.encoder.depth=10"]))


def test_an_encoder_with_nothing_in_common_is_refused(monkeypatch):
    monkeypatch.setattr(ResNetEncoder, "state_dict", lambda self: {f"x{self.out_dim}": torch.zeros(1)})
    with pytest.raises(ConfigError, match="shares no tensor with it"):
        check_handovers(pipeline(width=8))


def test_data_that_is_absent_is_left_to_the_check_of_the_data(tmp_path):
    source = f"{{name: decathlon, root: {tmp_path}}}"
    check_handovers(config.load("quickstart", [f"{s}.data.source={source}" for s in ("pretrain", "verdict")]))


def exported(folder, channels=1, width=8, dims=2):
    """The folder of an encoder of images."""
    spec = ImageSpec(dims, channels, (16,) * dims, 9)
    node = {"name": "resnet", "depth": 18, "width": width, "stem": "small"}
    export_encoder(folder, config.build(node, "encoders", spec=spec), node, spec, {})
    return folder


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("smoke-meow", "probe.start_from=FOLDER", "2D with 1 channel, but the data of this stage are a graph"),
        ("smoke-meow", "finetune.start_from=FOLDER", "shares no tensor with it (resnet there, metapath here)"),
        ("smoke-meow", "probe.data.source.vocabulary=80", "features of target are 60 wide in training, 80 here"),
        ("smoke-meow", "probe.data.source.nodes_per_type=20", "but there are 15 in training"),
        ("smoke-meow", "probe.data.source.num_types=3", "those of the graph target-group_0-target over group_0, "),
        ("smoke-meow", "finetune.start_from=probe", "stage 'probe' is of kind 'evaluate', which leaves no encoder"),
        ("quickstart", "content.start_from=COLOR", "2D with 3 channels, but the data of this stage are 2D"),
        ("quickstart", "content.start_from=VOLUMES", "3D with 1 channel, but the data of this stage are 2D"),
    ],
)  # fmt: skip
def test_an_encoder_that_cannot_see_what_it_is_scored_on_is_refused_before_training(tmp_path, name, change, told):
    folders = {
        "FOLDER": exported(tmp_path / "gray"),
        "COLOR": exported(tmp_path / "color", channels=3),
        "VOLUMES": exported(tmp_path / "volumes", dims=3),
    }
    for word, folder in folders.items():
        change = change.replace(word, str(folder))
    with pytest.raises(ConfigError) as caught:
        check_handovers(config.load(name, [change]))
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_encoder_may_be_scored_on_other_data_that_it_can_see():
    changes = [
        "probe.data.source.graph_seed=3",
        "probe.data.source.num_targets=180",
        "probe.data.source.nodes_per_type=15",
    ]
    check_handovers(config.load("smoke-meow", changes))


KEYS = (
    "content.start_from=FOLDER",
    "pretrain.start_from=FOLDER",
    "verdict.compare.foreign=FOLDER",
)


@pytest.mark.parametrize("key", KEYS)
def test_damaged_weights_are_told_before_training(tmp_path, key):
    folder = exported(tmp_path / "ours", width=16)
    line = key.replace("FOLDER", str(folder))
    check_handovers(config.load("quickstart", [line]))
    weights = folder / "encoder.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors: cannot be read as safetensors"):
        check_handovers(config.load("quickstart", [line]))
    other = exported(tmp_path / "other", width=8) / "encoder.safetensors"
    weights.write_bytes(other.read_bytes())
    told = r"network\.bn1\.bias is \(8,\) in the file, expected \(16,\)"
    with pytest.raises(CheckpointError, match=rf"encoder\.safetensors: does not fit .* beside it: {told} \(\d+ more\)"):
        check_handovers(config.load("quickstart", [line]))


@pytest.mark.parametrize("key", KEYS)
def test_of_weights_that_lack_a_tensor_others_may_start_but_none_is_scored(tmp_path, key):
    """As of a version before that tensor was there."""
    folder = exported(tmp_path / "ours", width=16)
    tensors, _ = read_tensors(folder / "encoder.safetensors")
    del tensors["network.bn1.num_batches_tracked"]
    write_tensors(folder / "encoder.safetensors", tensors, {})
    pipeline = config.load("quickstart", [key.replace("FOLDER", str(folder))])
    if key == KEYS[0]:
        with pytest.raises(CheckpointError, match=r"num_batches_tracked is absent in the file, expected \(\)\."):
            check_handovers(pipeline)
    else:
        check_handovers(pipeline)
