"""Features of files are those of the encoder on what its training would have made of them."""

import errno
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

import medgraph
from medgraph import cli, config
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError, DataError
from medgraph.runner.embed import embed, find_encoder
from medgraph.runner.encoder_folder import FACTS
from medgraph.runner.export import export_encoder
from medgraph.runner.predict import CasesFailed

SOURCE = {"name": "folder", "root": "nowhere", "images": "*", "labels": None, "classes": [], "frame": None}
SOURCE |= {"subject_pattern": None, "fractions": [1.0, 0.0, 0.0], "split_seed": 0}
VOLUMES = {"source": SOURCE, "axis": 1, "size": [16, 16], "percentiles": [0.5, 99.5], "spacing": None}
SLICES = {"name": "slices", "min_foreground": 0.05, **VOLUMES}
STACKS = {"name": "stacks", **VOLUMES}
IMAGES = {"name": "images", "root": "nowhere", "labels": None, "size": [16, 16], "channels": 1}
IMAGES |= {"percentiles": [0.5, 99.5], "fractions": [1.0, 0.0, 0.0], "split_seed": 0}
RESNET = {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
VOLUME = {"name": "volume", "slice_encoder": RESNET, "attention": {"name": "none"}, "dim": 8, "num_layers": 1}
VOLUME |= {"hidden_dim": 8, "dropout": 0.0, "dropout_place": "branch", "position": "slice", "repeat_last": False}
SPEC = ImageSpec(2, 1, (16, 16), 10)


def exported(folder, data, node=RESNET, spec=SPEC):
    encoder = config.build(node, "encoders", spec=spec).eval()
    export_encoder(folder, encoder, node, spec, {"seed": 3, "data": data})
    return folder


def test_slices_and_their_mean_are_written_with_ids(tmp_path, cases):
    folder = exported(tmp_path / "encoder", SLICES)
    embed(folder, cases, tmp_path / "out", device="cpu")
    encoder = medgraph.load_encoder(folder)
    slices, volumes = (parquet.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("slices", "cases"))
    rows = np.load(tmp_path / "out" / "slices.npy")
    assert volumes["case"].to_pylist() == ["case0", "case1", "case2"]
    np.testing.assert_array_equal(np.stack(slices["embedding"].to_numpy(zero_copy_only=False)), rows)
    for number in range(3):
        images = encoder.preprocess(cases / f"case{number}.nii.gz")
        with torch.no_grad():
            expected = encoder(images).numpy()
        mine = [i for i, case in enumerate(slices["case"].to_pylist()) if case == f"case{number}"]
        assert [slices["slice"].to_pylist()[i] for i in mine] == list(range(len(images)))
        np.testing.assert_allclose(rows[mine], expected, atol=1e-6)
        np.testing.assert_allclose(np.load(tmp_path / "out" / "cases.npy")[number], expected.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "data", [STACKS, {"name": "images_and_stacks", "image_data": IMAGES, "volume_data": STACKS, "images_per_batch": 2}]
)
def test_an_encoder_of_volumes_gives_a_row_for_each(tmp_path, cases, data):
    folder = exported(tmp_path / "encoder", data, VOLUME)
    encoder = medgraph.load_encoder(folder)
    assert encoder.preprocess(cases / "case2.nii.gz").shape == (1, 18, 1, 16, 16)
    embed(folder, cases, tmp_path / "out", device="cpu")
    with torch.no_grad():
        expected = torch.cat([encoder(encoder.preprocess(path)) for path in sorted(cases.iterdir())]).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out" / "cases.npy"), expected, atol=1e-6)
    assert expected.shape == (3, 8)
    assert expected.std(axis=0).min() > 1e-3  # volumes that differ
    assert not (tmp_path / "out" / "slices.npy").exists()


def test_after_several_sets_the_one_that_files_belong_to_is_asked_for(tmp_path, cases):
    mixed = {"name": "mixed", "data": [SLICES, {**SLICES, "axis": 2}], "max_share": 0.5}
    folder = exported(tmp_path / "encoder", mixed)
    with pytest.raises(
        CasesFailed, match=r"prepare such files in 2 ways, and which one fits here is not said. Set like"
    ):
        embed(folder, cases, tmp_path / "none", device="cpu")
    arguments = ["embed", str(folder), str(cases), "--out", str(tmp_path / "out"), "--data", "like=1"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    embed(exported(tmp_path / "axial", {**SLICES, "axis": 2}), cases, tmp_path / "alone", device="cpu")
    found, expected = (parquet.read_table(tmp_path / name / "slices.parquet").num_rows for name in ("out", "alone"))
    assert found == expected
    with pytest.raises(ConfigError, match="liek"):
        embed(folder, cases, tmp_path / "wrong", changes=["liek=1"], device="cpu")


@pytest.mark.parametrize("data", [IMAGES, {"name": "mixed", "data": [SLICES, IMAGES], "max_share": 0.5}])
def test_images_are_scaled_to_fit_as_in_training(tmp_path, data):
    folder = exported(tmp_path / "encoder", data)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "in" / "a.png")
    images = medgraph.load_encoder(folder).preprocess(tmp_path / "in" / "a.png")
    assert images.shape == (1, 1, 16, 16)
    assert images[0, 0, :4].abs().sum() == 0  # 10 x 20 becomes 8 x 16, padded around the centre
    embed(folder, tmp_path / "in", tmp_path / "out", device="cpu")
    assert parquet.read_table(tmp_path / "out" / "cases.parquet")["case"].to_pylist() == ["a"]


def test_volumes_of_one_size_are_read_as_in_training(tmp_path, cases):
    source = {"name": "two_folders"}
    data = {"name": "grouped_files", "source": {**source, **_two_folders()}, "size": [14, 18, 20], "fit": "resize"}
    data |= {"channels": 1, "percentiles": [1.0, 99.0]}
    spec = ImageSpec(3, 1, (14, 18, 20), 10)
    encoder = medgraph.load_encoder(exported(tmp_path / "encoder", data, spec=spec))
    assert encoder.preprocess(cases / "case2.nii.gz").shape == (1, 1, 14, 18, 20)


def _two_folders():
    from medgraph.config import signature

    given = {"background": "x", "target": "y"}
    parameters = signature.read("medgraph.data.two_folders:TwoFoldersSource").settable
    return {name: given.get(name, "nowhere" if p.required else p.default) for name, p in parameters.items()}


def test_a_volume_for_an_encoder_of_images_and_a_bad_file_are_told_at_the_end(tmp_path, cases):
    folder = exported(tmp_path / "encoder", IMAGES)
    with pytest.raises(CasesFailed, match=r"3 of 3 cases failed\.\n"):
        embed(folder, cases, tmp_path / "out", device="cpu")
    with pytest.raises(DataError, match="is a volume, but the model was trained on images"):
        medgraph.load_encoder(folder).preprocess(cases / "case0.nii.gz")


def test_data_without_files_say_that_nothing_tells_how_to_prepare_one(tmp_path, cases):
    for data in (
        None,
        {
            "name": "shapes_over_digits",
            "root": "x",
            "size": 32,
            "num_examples": 9,
            "num_test": 9,
            "scale": [0.1, 0.2],
            "rotation": 0.0,
        },
    ):
        folder = exported(tmp_path / "encoder", data)
        with pytest.raises(CheckpointError, match="nothing says how to prepare one"):
            embed(folder, cases, tmp_path / f"out{data is None}", device="cpu")
        assert not (tmp_path / f"out{data is None}").exists()


def test_another_number_of_channels_is_told(tmp_path, cases):
    folder = exported(tmp_path / "encoder", SLICES, spec=ImageSpec(2, 3, (16, 16), 10))
    with pytest.raises(CasesFailed, match="has 1 channels, but the encoder takes 3"):
        embed(folder, cases, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["images", "images/features"])
def test_features_are_not_written_among_the_cases(tmp_path, cases, place):
    with pytest.raises(ConfigError, match="is the folder of the cases, or lies in it"):
        embed(exported(tmp_path / "encoder", SLICES), cases, tmp_path / place)


def test_features_are_not_overwritten(tmp_path, cases):
    folder = exported(tmp_path / "encoder", SLICES)
    line = ["embed", str(folder), str(cases), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert CliRunner().invoke(cli.app, line).exit_code == 0
    with pytest.raises(ConfigError, match=r"already holds cases\.npy, cases\.parquet, slices\.npy"):
        embed(folder, cases, tmp_path / "out")


@pytest.mark.parametrize("number", [0, 1])
def test_a_full_disk_leaves_no_file_and_names_the_one_that_did_not_fit(tmp_path, cases, monkeypatch, number):
    written, write = [], parquet.write_table

    def fill(table, path):
        path.write_bytes(b"half")
        if len(written) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path)
        written.append(path)

    monkeypatch.setattr("medgraph.runner.embed.parquet.write_table", fill)
    name = ("cases", "slices")[number]
    with pytest.raises(OSError, match=rf"No space left on device: '.*out/{name}\.parquet'"):
        embed(exported(tmp_path / "encoder", SLICES), cases, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing_and_says_so(tmp_path, cases, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("medgraph.runner.embed._encode", interrupt)
    folder = exported(tmp_path / "encoder", SLICES)
    done = CliRunner().invoke(cli.app, ["embed", str(folder), str(cases), "--out", str(tmp_path / "out")])
    assert done.exit_code == 130
    assert done.stderr == f"Interrupted. Nothing was written to {tmp_path / 'out'}.\n"
    assert not (tmp_path / "out").exists()


def test_the_encoder_of_a_run_is_found(tmp_path, stage):
    run = tmp_path / "run"
    with pytest.raises(CheckpointError, match=r"holds neither encoder\.json nor pipeline\.yaml"):
        find_encoder(tmp_path)
    run.mkdir()
    pipeline = config.load(tmp_path / "tiny.yaml")
    (run / "pipeline.yaml").write_text(config.resolved(pipeline))
    with pytest.raises(CheckpointError, match="no stage of the run has trained an encoder yet"):
        find_encoder(run)
    exported(run / "verdict" / "pretrained-4" / "encoder", SLICES)
    assert find_encoder(run) == run / "verdict/pretrained-4/encoder"
    exported(run / "fine" / "encoder", SLICES)
    assert find_encoder(run) == run / "fine" / "encoder"
    assert find_encoder(run, "verdict/pretrained-4") == run / "verdict/pretrained-4/encoder"
    assert json.loads((find_encoder(run / "fine" / "encoder") / FACTS).read_text())["encoder"] == RESNET
    with pytest.raises(CheckpointError, match=r"no encoder is called 'x'. There are: verdict/pretrained-4, fine"):
        find_encoder(run, "x")
