"""Every format gives the encoder's features again, where it can without medgraph, and says what is missing."""

import errno
import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import medgraph
from medgraph import cli, config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError
from medgraph.runner import export_formats
from medgraph.runner.export import export_encoder
from medgraph.runner.export_formats import export

SOURCE = {"name": "folder", "root": "nowhere", "images": "*", "labels": None, "classes": [], "frame": None}
SOURCE |= {"subject_pattern": None, "fractions": [1.0, 0.0, 0.0], "split_seed": 0}
STACKS = {"name": "stacks", "source": SOURCE, "axis": 1, "size": [16, 20], "percentiles": [0.5, 99.5], "spacing": None}
SLICES = {**STACKS, "name": "slices", "min_foreground": 0.05, "spacing": [1.2, 1.0, 0.9]}
IMAGES = {"name": "images", "root": "nowhere", "labels": None, "size": [16, 16], "channels": 1}
IMAGES |= {"percentiles": [0.5, 99.5], "fractions": [1.0, 0.0, 0.0], "split_seed": 0}
RESNET = {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
VOLUME = {"name": "volume", "slice_encoder": RESNET, "attention": {"name": "full", "num_heads": 2}, "dim": 8}
VOLUME |= {"num_layers": 1, "hidden_dim": 8, "dropout": 0.0, "dropout_place": "branch", "position": "slice"}
VOLUME |= {"repeat_last": False}

PT2 = "import numpy as np, sys, torch; x = torch.from_numpy(np.load(sys.argv[2]))\n"
PT2 += "y = torch.export.load(sys.argv[1] + '/encoder.pt2').module()(x).detach().numpy()\n"
ONNX = "import numpy as np, onnxruntime, sys; x = np.load(sys.argv[2])\n"
ONNX += "y = onnxruntime.InferenceSession(sys.argv[1] + '/encoder.onnx').run(None, {'x': x})[0]\n"
END = "assert 'medgraph' not in sys.modules; np.save(sys.argv[3], y)"


def exported(folder, data=SLICES, node=RESNET):
    spec = ImageSpec(2, 1, (16, 20), 10)
    encoder = config.build(node, "encoders", spec=spec).eval()
    for module in encoder.modules():  # statistics as after training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    export_encoder(folder, encoder, node, spec, {"seed": 3, "data": data, "stage": "pretrain"})
    return folder


@pytest.mark.parametrize("format", ["safetensors", "hf"])
def test_weights_and_json_rebuild_the_encoder(tmp_path, format, cases):
    folder = exported(tmp_path / "encoder")
    out = export(folder, format, tmp_path / "out")
    ours, theirs = medgraph.load_encoder(folder), medgraph.load_encoder(out)
    images = ours.preprocess(cases / "case1.nii.gz")
    assert torch.equal(theirs.preprocess(cases / "case1.nii.gz"), images)
    assert torch.equal(theirs(images), ours(images))
    assert "## Licence" in (out / "README.md").read_text()
    again = export(out, "safetensors", tmp_path / "again")
    assert torch.equal(medgraph.load_encoder(again)(images), ours(images))


@pytest.mark.slow
@pytest.mark.parametrize(("format", "script"), [("pt2", PT2), ("onnx", ONNX)])
def test_another_process_without_medgraph_gives_the_same_features(tmp_path, format, script):
    folder = exported(tmp_path / "encoder")
    out = export(folder, format, tmp_path / "out")
    images = torch.rand(5, 1, 16, 20)
    np.save(tmp_path / "x.npy", images.numpy())
    command = [sys.executable, "-c", script + END, str(out), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    with torch.no_grad():
        expected = medgraph.load_encoder(folder)(images).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=0, atol=1e-5)


def test_kernels_that_lie_channels_last_are_saved_plainly(tmp_path):
    folder = exported(tmp_path / "encoder", node={**RESNET, "depth": 10, "width": 16})
    kernel = medgraph.load_encoder(folder).network.layer1[0].conv1.weight
    assert not kernel.is_contiguous()
    stored = torch.export.load(export(folder, "pt2", tmp_path / "out") / "encoder.pt2").state_dict
    assert all(value.is_contiguous() for value in stored.values())


@pytest.mark.parametrize("attention", ["full", "ms1d"])
def test_a_volume_encoder_takes_any_number_of_slices(tmp_path, attention):
    chosen = {"name": "ms1d", "num_heads": 2, "num_levels": 2, "num_points": 2}
    node = VOLUME if attention == "full" else VOLUME | {"attention": chosen}
    folder = exported(tmp_path / "encoder", STACKS, node)
    out = export(folder, "pt2", tmp_path / "out")
    program = torch.export.load(out / "encoder.pt2").module()
    for num_slices in (12, 31):
        volumes = torch.rand(2, num_slices, 1, 16, 20)
        with torch.no_grad():
            expected = medgraph.load_encoder(folder)(volumes)
            torch.testing.assert_close(program(volumes), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "node"), [(SLICES, RESNET), (STACKS, VOLUME)], ids=["slices", "volumes"])
def test_a_bundle_runs_on_a_nifti_file(tmp_path, monkeypatch, data, node):
    """Each start of MONAI takes seconds, so the run that `export` makes itself is the one that is looked at."""
    folder, runs = exported(tmp_path / "encoder", data, node), []
    run = subprocess.run

    def kept(command, cwd, **settings):
        done = run(command, cwd=cwd, **settings)
        given = dict(zip(command[4::2], command[5::2], strict=True)) | {"start": command[:4], "folder": cwd}
        shutil.copy(given["--image"], tmp_path / "tilted.nii.gz")
        shutil.copy(f"{given['--output_dir']}/tilted.npy", tmp_path)
        runs.append(given)
        return done

    monkeypatch.setattr("medgraph.runner.monai_bundle.subprocess.run", kept)
    out = export(folder, "monai-bundle", tmp_path / "out")
    (given,) = runs
    assert given["start"] == [sys.executable, "-m", "monai.bundle", "run"]
    assert given["folder"] == out
    encoder = medgraph.load_encoder(folder)
    with torch.no_grad():
        expected = encoder(encoder.preprocess(tmp_path / "tilted.nii.gz")).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "tilted.npy"), expected, rtol=0, atol=1e-5)
    source = " ".join(path.read_text() for path in out.rglob("*.*") if path.suffix in (".py", ".json"))
    assert "import medgraph" not in source
    assert "from medgraph" not in source


def test_a_bundle_that_does_not_run_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("medgraph.runner.monai_bundle.sys.executable", shutil.which("false"))
    with pytest.raises(CheckpointError, match="the bundle was written but does not run"):
        export(exported(tmp_path / "encoder"), "monai-bundle", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_an_encoder_of_images_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="was not trained on any"):
        export(exported(tmp_path / "encoder", IMAGES), "monai-bundle", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format", "package", "command"),
    [("onnx", "onnxscript", r"medgraph\[onnx\]"), ("monai-bundle", "fire", r"medgraph\[bundle\]")],
)
def test_a_missing_extra_is_named_with_the_command(tmp_path, monkeypatch, format, package, command):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(ConfigError, match=f"needs {package}, not installed here. pip install '{command}'"):
        export(tmp_path, format, tmp_path / "out")


def test_other_features_or_shapes_are_refused_and_nothing_is_left(tmp_path, monkeypatch):
    folder = exported(tmp_path / "encoder")
    wrong = [(np.zeros((1, 2)), np.full((1, 2), 1e-3)), (np.zeros((1, 2)), np.zeros((2, 2)))]
    for pair, message in zip(wrong, ("differs from the encoder by 0.001", r"gives features \(2, 2\)"), strict=True):
        monkeypatch.setitem(export_formats.WRITERS, "pt2", lambda *_, pair=pair: [pair])
        with pytest.raises(CheckpointError, match=message):
            export(folder, "pt2", tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device", "x.pt2")])
def test_ctrl_c_and_a_full_disk_leave_nothing_and_are_told(tmp_path, monkeypatch, capsys, error):
    def stop(folder, out, model, text):
        (out / "encoder.pt2").write_bytes(b"half")
        raise error

    monkeypatch.setitem(export_formats.WRITERS, "pt2", stop)
    out = tmp_path / "out"
    monkeypatch.setattr(
        sys, "argv", ["medgraph", "export", str(exported(tmp_path / "e")), "--format", "pt2", "--out", str(out)]
    )
    with pytest.raises(SystemExit) as left:
        cli.main()
    interrupted = isinstance(error, KeyboardInterrupt)
    assert left.value.code == (130 if interrupted else 2)
    told = capsys.readouterr().err
    assert told.startswith(f"Interrupted. Nothing was written to {out}.\n" if interrupted else "x.pt2: No space left")
    assert not out.exists()


def test_an_encoder_that_torch_cannot_follow_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("medgraph.nn.encoders.ResNetEncoder.forward", lambda self, x: torch.from_numpy(x.numpy()))
    with pytest.raises(CheckpointError, match=r"torch\.export cannot follow this encoder"):
        export(exported(tmp_path / "encoder"), "pt2", tmp_path / "out")


@pytest.mark.parametrize("format", ["nnunet", "nnU-Net"])
def test_why_nnunet_cannot_take_an_encoder_is_said(tmp_path, format):
    with pytest.raises(
        ConfigError, match=r"nnU-Net takes pre-trained weights by name and shape, .* no tensor would fit"
    ):
        export(tmp_path, format, tmp_path / "out")


def test_unknown_formats_full_folders_and_graphs_are_refused(tmp_path, monkeypatch):
    folder = exported(tmp_path / "encoder")
    with pytest.raises(
        ConfigError, match="--format: expected one of safetensors, pt2, onnx, monai-bundle, hf, got 'tf'"
    ):
        export(folder, "tf", tmp_path / "out")
    with pytest.raises(ConfigError, match="exists already and is not an empty folder"):
        export(folder, "pt2", folder)
    monkeypatch.setattr("medgraph.runner.export_formats.load_encoder", lambda folder: nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match="an encoder of graphs cannot be exported"):
        export(folder, "pt2", tmp_path / "out")


def test_the_command_line_says_done(tmp_path):
    folder = exported(tmp_path / "encoder")
    done = CliRunner().invoke(cli.app, ["export", str(folder), "--format", "hf", "--out", str(tmp_path / "out")])
    assert done.stdout.endswith("written, loaded again, same features.\n")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "medgraph"
