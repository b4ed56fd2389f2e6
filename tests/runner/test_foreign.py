"""Foreign weights give the features of the network they come from, or are refused tensor by tensor."""

import pathlib

import pytest
import torch
from monai.networks.nets.resnet import resnet10, resnet18, resnet50
from monai.networks.nets.swin_unetr import SwinUNETR
from safetensors.torch import save_file
from typer.testing import CliRunner

import medgraph
from medgraph import cli, config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError
from medgraph.runner.foreign import adopt, match, read_weights

NODE = {"name": "resnet", "depth": 18, "width": 64, "stem": "imagenet"}
GRAY = ImageSpec(2, 1, (32, 32), 0)


def network(channels, dims=2, made=resnet18, **settings):
    """A network as torchvision, timm and MedicalNet lay it out: MONAI's, without a bias on the shortcuts."""
    settings = {"num_classes": 5, "conv1_t_stride": 2, "bias_downsample": False, **settings}
    settings |= {"spatial_dims": dims, "n_input_channels": channels}
    net = made(**settings).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
    return net


def pooled(net, x):
    x = net.maxpool(net.act(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x)))).flatten(2).mean(2)


def test_a_color_network_gives_the_same_features_on_gray_images_three_times(tmp_path):
    net = network(3)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "a.pth")
    report = adopt(tmp_path / "a.pth", NODE, GRAY, tmp_path / "encoder")
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = pooled(net, x.expand(2, 3, 32, 32))
        torch.testing.assert_close(medgraph.load_encoder(tmp_path / "encoder")(x), expected, rtol=1e-4, atol=1e-4)
    assert len(report["summed"]) == 1
    text = (tmp_path / "encoder" / "README.md").read_text()
    assert "# resnet encoder of elsewhere, stage adopted from a.pth" in text
    assert "- Training examples not recorded; adopted for images in 2D, 1 x 32 x 32" in text
    assert "encoder(images)" in text
    assert "preprocess" not in text
    assert "- Data: not recorded. The weights come under what the owners of the data demand" in text
    with pytest.raises(
        CheckpointError, match="its training data are not recorded here, as of adopted weights, so nothing"
    ):
        medgraph.load_encoder(tmp_path / "encoder").preprocess(tmp_path / "a.png")
    assert report["zero"][0] == "network.layer2.0.downsample.0.bias (128,), as the file has no such bias"
    assert len(report["zero"]) == 3
    assert report["left behind"] == ["module.fc.weight (5, 512)", "module.fc.bias (5,)"]


def test_a_deep_network_of_volumes_from_safetensors_is_taken_whole(tmp_path):
    net = network(1, 3, resnet50, widen_factor=0.125, bias_downsample=True)
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    spec = ImageSpec(3, 1, (32, 32, 32), 0)
    report = adopt(tmp_path / "a.safetensors", {**NODE, "depth": 50, "width": 8}, spec, tmp_path / "encoder")
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(medgraph.load_encoder(tmp_path / "encoder")(x), pooled(net, x), rtol=1e-4, atol=1e-4)
    assert report["summed"] == report["zero"] == []


def test_missing_misshapen_and_unknown_tensors_are_all_named(tmp_path):
    net = network(3, shortcut_type="A")
    state = net.state_dict() | {"layer1.0.conv1.weight": torch.zeros(2, 2), "layer9.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as error:
        adopt(tmp_path / "a.pth", NODE, GRAY, tmp_path / "encoder")
    assert "not in the file: network.layer2.0.downsample.0.weight" in str(error.value)
    assert "another shape: network.layer1.0.conv1.weight: (2, 2) in the file, (64, 64, 3, 3) here" in str(error.value)
    assert "of no place here: layer9.weight" in str(error.value)
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize(("depth", "made"), [(10, resnet10), (18, resnet18)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_networks_of_medicalnet_are_taken_by_their_shortcuts(tmp_path, depth, made, shortcut):
    """As its files: under `state_dict`, each name after `module.`, with a head that segments."""
    net = network(1, 3, made, shortcut_type=shortcut, feed_forward=False, widen_factor=0.125)
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    state["module.conv_seg.0.weight"] = torch.ones(3, 2)
    torch.save({"state_dict": state, "epoch": 7}, tmp_path / "a.pth")
    line = ["adopt", str(tmp_path / "a.pth"), "--depth", str(depth), "--dims", "3", "--width", "8"]
    right, wrong = ("resnet_padded", "resnet") if shortcut == "A" else ("resnet", "resnet_padded")
    refused = CliRunner().invoke(cli.app, [*line, "--out", str(tmp_path / "wrong"), "--encoder", wrong])
    assert isinstance(refused.exception, CheckpointError)
    kind = "have no weights (shortcut type A, " if shortcut == "A" else "are convolutions (shortcut type B)"
    assert f"The shortcuts of the file {kind}" in str(refused.exception)
    assert f"`--encoder {right}`" in str(refused.exception)
    assert not (tmp_path / "wrong").exists()
    done = CliRunner().invoke(cli.app, [*line, "--out", str(tmp_path / "encoder"), "--encoder", right])
    assert "left behind: module.conv_seg.0.weight (3, 2)" in done.stdout, done.output
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        encoder = medgraph.load_encoder(tmp_path / "encoder")
        torch.testing.assert_close(encoder(x), pooled(net, x), rtol=1e-5, atol=1e-5)


class Harmful:
    """What a file of weights must never run."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return pathlib.Path.touch, (self.target,)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": {"conv1.weight": torch.ones(1), "x": x}}])
def test_code_in_a_file_of_weights_is_never_run(tmp_path, wrap):
    torch.save(wrap(Harmful(tmp_path / "ran")), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="cannot be read without running code from it"):
        adopt(tmp_path / "a.pth", NODE, GRAY, tmp_path / "encoder")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have been


def swin(width=12, dims=2):
    return SwinUNETR(1, 3, feature_size=width, spatial_dims=dims)


@pytest.mark.parametrize("kind", ["SwinUNETR", "self-supervised"])
def test_the_swin_of_swinunetr_is_taken_and_its_decoder_left(tmp_path, kind):
    net = swin().eval()
    state = net.state_dict()
    if kind == "self-supervised":  # as model_swinvit.pt: no decoder, other names in the MLP, heads of three tasks
        state = {k.replace("swinViT", "module"): v for k, v in state.items() if k.startswith("swinViT.")}
        state = {k.replace("mlp.linear", "mlp.fc"): v for k, v in state.items()}
        state |= {"module.norm.weight": torch.ones(3), "module.rotation_head.weight": torch.ones(4, 3)}
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    line = ["adopt", str(tmp_path / "a.pt"), "--out", str(tmp_path / "encoder"), "--encoder", "swin", "--width", "12"]
    done = CliRunner().invoke(cli.app, line)
    assert done.exit_code == 0, done.output
    left = "norm.weight (3,)" if kind == "self-supervised" else "out.conv.conv.weight (3, 12, 1, 1)"
    assert left in done.stdout
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(medgraph.load_encoder(tmp_path / "encoder").pyramid(x), net.swinViT(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_a_swin_of_another_width_or_with_more_layers_is_refused(tmp_path):
    torch.save(swin(24).state_dict() | {"swinViT.layers1c.weight": torch.ones(1)}, tmp_path / "a.pt")
    node = config.with_defaults({"name": "swin", "width": 12}, "encoders")
    with pytest.raises(CheckpointError) as error:
        adopt(tmp_path / "a.pt", node, GRAY, tmp_path / "encoder")
    assert "another shape: network.patch_embed.proj.weight: (24, 1, 2, 2) in the file, (12, 1, 2, 2) here" in str(
        error.value
    )
    assert CliRunner().invoke(cli.app, ["adopt", "a.pt", "--out", "x", "--encoder", "vit"]).exit_code == 2


def test_the_timm_way_of_writing_a_resnet_is_taken(tmp_path):
    """timm and torchvision write the tensors of a plain ResNet alike; timm's deep stems are another network."""
    state = network(3).state_dict()
    torch.save(state, tmp_path / "plain.pth")
    assert len(adopt(tmp_path / "plain.pth", NODE, GRAY, tmp_path / "plain")["summed"]) == 1
    deep = {("conv1.0.weight" if name == "conv1.weight" else name): value for name, value in state.items()}
    torch.save(deep, tmp_path / "deep.pth")
    with pytest.raises(CheckpointError, match=r"not in the file: network\.conv1\.weight"):
        adopt(tmp_path / "deep.pth", NODE, GRAY, tmp_path / "deep")


def test_names_that_differ_by_their_prefix_alone_are_refused():
    with pytest.raises(CheckpointError, match=r"module\.w and w are both 'w' without prefix"):
        match({"w": torch.ones(1), "module.w": torch.ones(1)}, {}, "a.pth")


def test_files_that_are_no_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such file, expected weights"):
        read_weights(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        read_weights(tmp_path / "a.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="cannot be read without running code from it"):
        read_weights(tmp_path / "code.pth")
    for garbage in (b"", b"hello world\n", b"a,b\n1,2\n", b"\x80\x02}q\x00(", b"PK\x03\x04"):
        (tmp_path / "text.pth").write_bytes(garbage)
        with pytest.raises(CheckpointError, match=r"text.pth: is no file of torch.save, or .* expected weights"):
            adopt(tmp_path / "text.pth", NODE, GRAY, tmp_path / "encoder")
    assert not (tmp_path / "encoder").exists()


def test_garbage_is_told_in_a_line_on_the_command_line(tmp_path):
    (tmp_path / "notes.pth").write_text("hello world\n")
    done = CliRunner().invoke(cli.app, ["adopt", str(tmp_path / "notes.pth"), "--out", str(tmp_path / "encoder")])
    assert isinstance(done.exception, CheckpointError)
    (line,) = str(done.exception).splitlines()
    assert line.startswith(f"{tmp_path / 'notes.pth'}: is no file of torch.save")
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize("held", [{"model": torch.ones(3)}, {"model": {"net": {"model": torch.ones(3)}, "epoch": 1}}])
def test_a_tensor_called_like_a_wrapping_is_a_tensor(tmp_path, held):
    torch.save(held, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth")["model"].tolist() == [1, 1, 1]


def test_keys_that_are_no_names_and_wrappings_of_themselves_are_refused(tmp_path):
    circle = {}
    circle["model"] = circle
    for held in ({1: torch.ones(2)}, circle):
        torch.save(held, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="holds no tensors by name"):
            read_weights(tmp_path / "a.pth")


def test_an_encoder_is_not_overwritten(tmp_path):
    torch.save(network(1).state_dict(), tmp_path / "a.pth")
    line = ["adopt", str(tmp_path / "a.pth"), "--out", str(tmp_path / "encoder")]
    done = CliRunner().invoke(cli.app, line)
    assert "left behind: fc.weight (5, 512)" in done.stdout
    assert f"2 left behind. Use it by `start_from: {tmp_path}/encoder`" in done.stdout
    with pytest.raises(ConfigError, match="holds an encoder already"):
        adopt(tmp_path / "a.pth", NODE, GRAY, tmp_path / "encoder")
    assert CliRunner().invoke(cli.app, [*line, "--dims", "4"]).exit_code == 2


def test_a_stage_starts_from_a_folder_elsewhere_and_its_digest_follows_the_weights(tmp_path, stage):
    pipeline = tmp_path / "tiny.yaml"
    text = pipeline.read_text().replace("{config: fine.yaml}", f"{{config: fine.yaml, start_from: {tmp_path}/enc}}")
    pipeline.write_text(text)
    with pytest.raises(ConfigError, match=r"start_from: expected the folder of an encoder, found none in"):
        config.load(pipeline)
    digests = set()
    for value in (0.0, 1.0):
        (tmp_path / "enc").mkdir(exist_ok=True)
        save_file({"a": torch.full((2,), value)}, tmp_path / "enc" / "encoder.safetensors")
        digests.add(config.load(pipeline).stages["fine"].digest)
    assert len(digests) == 2
    assert stage.digest not in digests
