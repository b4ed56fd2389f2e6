"""A bundle prepares files as the encoder's training did, whatever they are cut into."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation

import medgraph
from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError
from medgraph.runner.export import export_encoder
from medgraph.runner.export_formats import export
from medgraph.runner.monai_bundle import SCRIPT, preparation, write_program

SOURCE = {"name": "folder", "root": "nowhere"}
TARGET = {"name": "label_volume"}
GROUPS = {"name": "two_folders", "background": "x", "target": "y"}
CONV, RESNET = {"name": "conv", "width": 4}, {"name": "resnet", "depth": 10, "width": 4}
SWIN = {"name": "swin", "width": 6, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window": 2}
ATTENTION = {"name": "full", "num_heads": 2}
STACKED = {"name": "volume", "slice_encoder": CONV, "attention": ATTENTION, "dim": 8, "num_layers": 1}
SEGRESNET = {"name": "segresnet", "width": 8, "blocks": [1, 1]}
# The bright boxes of `cases` lie in volumes of 14 x 18 x 20 voxels, axes flipped or turned.
DATA = {
    "slices": {"name": "slices", "source": SOURCE, "axis": 0, "size": [16, 22], "spacing": [1.2, 1.0, 0.9]},
    "color": {
        "name": "slices",
        "source": SOURCE,
        "axis": 1,
        "size": [16, 22],
        "channels": 3,
        "score_range": [0.0, 4.0],
    },
    "plane": {"name": "slices", "source": SOURCE, "axis": 2, "size": [16, 22], "spacing": [1.2, 1.0, None]},
    "patches": {"name": "labelled_volumes", "source": SOURCE, "size": [8, 8, 8]},
    "patches-spacing": {"name": "labelled_volumes", "source": SOURCE, "size": [8, 8, 8], "spacing": [1.5, 1.0, 0.8]},
    "whole": {"name": "targeted_volumes", "source": SOURCE, "target": TARGET, "size": [12, 24, 16]},
    "resize": {"name": "grouped_files", "source": GROUPS, "size": [10, 20, 16], "fit": "resize"},
    "stacks": {
        "name": "targeted_stacks",
        "source": SOURCE,
        "target": TARGET,
        "size": [16, 16],
        "num_slices": 11,
        "score_range": [-1.0, 3.0],
    },
    "crop": {"name": "grouped_files", "source": GROUPS, "size": [8, 8, 8], "fit": "crop"},
}


def filled(node, kind):
    inner = {"source": "sources", "target": "targets", "slice_encoder": "encoders", "attention": "attentions"}
    own = {key: filled(v, inner[key]) if isinstance(v, dict) else v for key, v in node.items()}
    return config.with_defaults(own, kind)


def exported(folder, data, node=CONV):
    """The folder of an encoder that was trained on these data."""
    data, node = filled(data, "data"), filled(node, "encoders")
    spec = ImageSpec(len(data["size"]), data.get("channels", 1), tuple(data["size"]), 10)
    encoder = config.build(node, "encoders", spec=spec).eval()
    export_encoder(folder, encoder, node, spec, {"seed": 3, "data": data, "stage": "pretrain"})
    return folder


def prepare_of(settings):
    """The bundle's own preparation, as MONAI runs it."""
    spec = importlib.util.spec_from_file_location("prepare", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    read = [LoadImage(image_only=True), EnsureChannelFirst(), Orientation(axcodes="RAS", labels=None)]
    return Compose([*read, script.Prepare(**settings)])


@pytest.mark.parametrize("kind", DATA)
def test_a_file_is_prepared_as_in_training(tmp_path, cases, kind):
    encoder = medgraph.load_encoder(exported(tmp_path / "encoder", DATA[kind], STACKED if kind == "stacks" else CONV))
    prepare = prepare_of(preparation(encoder))
    for path in sorted(cases.iterdir()):
        torch.testing.assert_close(torch.as_tensor(prepare(path)), encoder.preprocess(path), rtol=0, atol=1e-6)


def test_a_volume_that_no_rule_brings_to_the_size_is_told(tmp_path, cases):
    for fit, words in (("crop", "or more"), (None, r"expected \(16, 16, 16\)$")):
        data = {**DATA["crop"], "size": [16, 16, 16], "fit": fit}
        prepare = prepare_of(preparation(medgraph.load_encoder(exported(tmp_path / str(fit), data))))
        with pytest.raises(RuntimeError) as error:  # MONAI's, of whatever a transform raises
            prepare(cases / "case0.nii.gz")
        assert re.search(words, str(error.value.__cause__))


def test_color_images_and_arrays_make_no_bundle(tmp_path):
    images = {"name": "images", "root": "nowhere", "size": [16, 16]}
    arrays = {"name": "classified_arrays", "path": "nowhere"}
    for name, data, size in (("images", images, (16, 16)), ("arrays", arrays, (8, 8, 8))):
        node, spec = config.with_defaults(CONV, "encoders"), ImageSpec(len(size), 1, size, 10)
        facts = {"seed": 3, "data": config.with_defaults(data, "data"), "stage": "pretrain"}
        export_encoder(tmp_path / name, config.build(node, "encoders", spec=spec).eval(), node, spec, facts)
        with pytest.raises(CheckpointError, match="takes volume files, but this encoder was not trained on any"):
            export(tmp_path / name, "monai-bundle", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_why_windows_make_no_bundle_for_volumes_of_any_size_is_said(tmp_path):
    folder = exported(tmp_path / "encoder", DATA["patches"], SWIN)
    with pytest.raises(CheckpointError, match=r"the windows of swin are exported for one size\. Take pt2 or onnx"):
        export(folder, "monai-bundle", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "node"), [("patches", RESNET), ("patches", SEGRESNET), ("whole", SWIN), ("stacks", STACKED)]
)
def test_a_bundle_of_a_3d_encoder_runs_on_a_nifti_file(tmp_path, monkeypatch, kind, node):
    """The run that `export` makes itself is the one that is looked at."""
    folder, run = exported(tmp_path / "encoder", DATA[kind], node), subprocess.run

    def kept(command, **settings):
        done = run(command, **settings)
        given = dict(zip(command[4::2], command[5::2], strict=True))
        shutil.copy(given["--image"], tmp_path / "tilted.nii.gz")
        shutil.copy(f"{given['--output_dir']}/tilted.npy", tmp_path)
        return done

    monkeypatch.setattr("medgraph.runner.monai_bundle.subprocess.run", kept)
    export(folder, "monai-bundle", tmp_path / "out")
    encoder = medgraph.load_encoder(folder)
    with torch.no_grad():
        expected = encoder(encoder.preprocess(tmp_path / "tilted.nii.gz")).numpy()
    found = np.load(tmp_path / "tilted.npy")
    assert found.shape == (1, encoder.out_dim)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is always full")
def test_a_program_on_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path):
    (tmp_path / "model.pt2").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_program(tmp_path / "model.pt2", torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)))
