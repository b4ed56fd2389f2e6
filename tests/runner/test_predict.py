"""New cases get their masks where they lie in the world, whatever their kind; bad ones are told at the end."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference.dicom_files import write_series
from reference.nifti_files import rotation, write
from typer.testing import CliRunner

from medgraph import cli, config
from medgraph.data import formats, itk
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError, DataError
from medgraph.runner.model import FACTS, export_model, load_model
from medgraph.runner.predict import CasesFailed, predict


def box(folder, write_case):
    """Write a case with a bright box whose first corner is (3, 5, 6), by `write_case(voxels, affine)`."""
    voxels = np.random.default_rng(0).normal(0, 10, (14, 18, 20)).astype(np.int16)
    voxels[3:6, 5:9, 6:12] += 300
    folder.mkdir(parents=True, exist_ok=True)
    write_case(voxels, rotation(25))
    return folder


def check_box(path):
    """The mask is the box, at its place in the world: corners by the oblique affine of the case."""
    volume = formats.read(formats.case_file(path))
    found = np.argwhere(volume.voxels == 1)
    assert len(found) == 3 * 4 * 6
    seen = np.sort((volume.affine[:3, :3] @ found.T).T + volume.affine[:3, 3], axis=0)
    wanted = np.argwhere(np.ones((3, 4, 6))) + np.array([3, 5, 6])
    expected = np.sort((rotation(25)[:3, :3] @ wanted.T).T + rotation(25)[:3, 3], axis=0)
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_each_mask_lies_on_the_grid_of_its_case(run_folder, cases, tmp_path):
    predict(run_folder, cases, tmp_path / "out", probabilities=True, device="cpu")
    for number in range(3):
        case = formats.read(formats.case_file(cases / f"case{number}.nii.gz"))
        mask = formats.read(formats.case_file(tmp_path / "out" / f"case{number}.nii.gz"))
        assert mask.grid.same_as(case.grid)
        np.testing.assert_array_equal(mask.voxels == 1, case.voxels > 20)
        bright = formats.read(formats.case_file(tmp_path / "out" / f"case{number}_bright.nii.gz"))
        assert bright.grid.same_as(case.grid)
        np.testing.assert_array_equal(bright.voxels > 0.5, case.voxels > 20)
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [case["voxels"]["bright"] for case in told["cases"]] == [72, 84, 96]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_itk_files_are_answered_in_kind(run_folder, tmp_path, suffix):
    folder = box(tmp_path / "in", lambda voxels, affine: itk.write_volume(tmp_path / f"in/a{suffix}", voxels, affine))
    predict(run_folder, folder, tmp_path / "out", device="cpu")
    check_box(tmp_path / "out" / f"a{suffix.replace('mhd', 'mha')}")


def test_a_dicom_series_is_answered_by_nifti(run_folder, tmp_path):
    folder = box(
        tmp_path / "in" / "patient", lambda voxels, affine: write_series(tmp_path / "in/patient", voxels, affine)
    )
    predict(run_folder, folder.parent, tmp_path / "out", device="cpu")
    check_box(tmp_path / "out" / "patient.nii.gz")


def test_images_are_answered_by_images(run_folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 40, (30, 50), dtype=np.uint8)
    pixels[4:7, 20:24] = 250
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    predict(run_folder, tmp_path / "in", tmp_path / "out", device="cpu")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), pixels == 250)


def test_one_bad_case_does_not_stop_the_others_and_is_told_by_exit_code_3(
    run_folder, cases, tmp_path, monkeypatch, capsys
):
    (cases / "bad.nii.gz").write_bytes(b"nonsense")
    (cases / "notes.txt").write_text("left out")
    with pytest.raises(CasesFailed, match=r"1 of 4 cases failed; the others are done.\n  bad: .*is not a NIfTI file"):
        predict(run_folder, cases, tmp_path / "out", device="cpu")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "case0.nii.gz",
        "case1.nii.gz",
        "case2.nii.gz",
        "predictions.json",
    ]
    assert "left out, of no kind that is read: notes.txt" in capsys.readouterr().out
    line = ["medgraph", "predict", str(run_folder), str(cases), "--out", str(tmp_path / "again"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_cases_that_are_done_and_tells_of_them(
    run_folder, cases, tmp_path, monkeypatch, capsys, number
):
    write_case, out, outside = formats.write, tmp_path / "out", signal.getsignal(number)
    before = signal.default_int_handler if number == signal.SIGINT else outside
    signal.signal(number, before)  # a shell that runs the tests behind it has them ignore Ctrl-C

    def interrupt(path, voxels, grid):
        if path.name.startswith("case1"):
            signal.raise_signal(number)
        write_case(path, voxels, grid)

    monkeypatch.setattr(formats, "write", interrupt)
    line = ["medgraph", "predict", str(run_folder), str(cases), "--out", str(out), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    left = signal.signal(number, outside)
    assert stop.value.code == 130
    assert f"Interrupted: 1 of 3 cases are done and written whole, see {out / 'predictions.json'}." in (
        capsys.readouterr().err
    )
    assert sorted(path.name for path in out.iterdir()) == ["case0.nii.gz", "predictions.json"]
    told = json.loads((out / "predictions.json").read_text())
    assert [case["case"] for case in told["cases"]] == ["case0"]
    assert left == before


def test_the_command_line_hands_everything_on(run_folder, cases, tmp_path):
    line = ["predict", str(run_folder), str(cases), "--out", str(tmp_path / "out"), "--model", "fine", "--workers", "1"]
    assert CliRunner().invoke(cli.app, line).exit_code == 0
    assert (tmp_path / "out" / "case0.nii.gz").exists()


@pytest.mark.parametrize("place", ["images", "images/masks"])
def test_writing_among_the_cases_is_refused(run_folder, cases, tmp_path, place):
    with pytest.raises(ConfigError, match="is the folder of the cases, or lies in it"):
        predict(run_folder, cases, tmp_path / place)


def test_what_is_there_is_not_overwritten(run_folder, cases, tmp_path):
    predict(run_folder, cases, tmp_path / "out", device="cpu")
    with pytest.raises(ConfigError, match=r"already holds case0.nii.gz, case1.nii.gz, case2.nii.gz; choose another"):
        predict(run_folder, cases, tmp_path / "out")


def test_mixed_kinds_no_workers_and_data_without_files_are_refused(run_folder, cases, tmp_path):
    with pytest.raises(ConfigError, match="--workers: expected 1 or more, got 0"):
        predict(run_folder, cases, tmp_path / "out", workers=0)
    itk.write_volume(cases / "x.nrrd", np.zeros((3, 3, 3), np.uint8), np.eye(4))
    with pytest.raises(DataError, match="mixes kinds of file"):
        predict(run_folder, cases, tmp_path / "out")
    facts = json.loads((run_folder / "fine" / "model" / FACTS).read_text())
    facts["data"] = config.with_defaults({"name": "shapes_over_digits", "root": "nowhere"}, "data")
    (run_folder / "fine" / "model" / FACTS).write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="was trained on ShapesOverDigitsData, which reads no single files"):
        predict(run_folder, cases, tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 3])
def test_two_series_fail_alone_and_the_chosen_one_is_taken(run_folder, tmp_path, workers):
    folder = tmp_path / "in" / "patient"
    box(folder, lambda voxels, affine: write_series(folder, voxels, affine, uid="1.2.3", description="T1"))
    write_series(folder, np.arange(27, dtype=np.int16).reshape(3, 3, 3), np.eye(4), uid="1.2.9", description="scout")
    with pytest.raises(CasesFailed, match=r"patient: .*2 DICOM series, expected one: .*T1.*scout"):
        predict(run_folder, folder.parent, tmp_path / "out", device="cpu", workers=workers)
    uid = next(uid for uid, words in itk.list_series(folder).items() if words == "T1")
    predict(run_folder, folder.parent, tmp_path / "out", device="cpu", series=uid, workers=workers)
    check_box(tmp_path / "out" / "patient.nii.gz")


CLASSIFY = """
kind: train
data: {name: classified_folder, root: nowhere, size: [16, 16]}
method: {name: classification, encoder: {name: resnet, depth: 18, width: 4}}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""


def test_a_model_that_classifies_writes_a_table(stage, tmp_path):
    (tmp_path / "fine.yaml").write_text(CLASSIFY)
    stage = config.load(tmp_path / "tiny.yaml").stages["fine"]
    spec = ImageSpec(2, 1, (16, 16), 8, ("dark", "bright"))
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    export_model(tmp_path / "run" / "fine" / "model", method, stage, spec, {"seed": 3})
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "c.png").write_bytes(b"nonsense")
    with pytest.raises(CasesFailed, match="1 of 3 cases failed"):
        predict(tmp_path / "run", tmp_path / "in", tmp_path / "out", device="cpu")
    head, *rows = [line.split(",") for line in (tmp_path / "out" / "predictions.csv").read_text().splitlines()]
    assert head == ["case", "class", "dark", "bright"]
    assert [row[0] for row in rows] == ["a", "b"]
    for row in rows:
        assert float(row[2]) + float(row[3]) == pytest.approx(1)
        assert row[1] == ("dark" if float(row[2]) > float(row[3]) else "bright")
    with pytest.raises(ConfigError, match=r"already holds predictions\.csv"):
        predict(tmp_path / "run", tmp_path / "in", tmp_path / "out", device="cpu")


REGRESS = """
kind: train
data:
  name: targeted_SHAPE
  source: {name: folder, root: nowhere}
  target: {name: label_volume}
  size: SIZE
method: {name: regression, encoder: {name: resnet, depth: 18, width: 4}}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""


@pytest.mark.parametrize(("shape", "size"), [("volumes", (8, 16, 16)), ("slices", (16, 16))])
def test_a_model_that_predicts_a_number_writes_it(stage, tmp_path, cases, shape, size):
    (tmp_path / "fine.yaml").write_text(REGRESS.replace("SHAPE", shape).replace("SIZE", str(list(size))))
    stage = config.load(tmp_path / "tiny.yaml").stages["fine"]
    spec = ImageSpec(len(size), 1, size, 8, target="volume, ml")
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    method.center.fill_(40.0)
    export_model(tmp_path / "run" / "fine" / "model", method, stage, spec, {"seed": 3})
    predict(tmp_path / "run", cases, tmp_path / "out", device="cpu")
    text = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert text[0] == 'case,"volume, ml"'
    data = config.build(stage.data, "data", seed=3)
    for line, number in zip(text[1:], range(3), strict=True):
        images = data.new_case(formats.case_file(cases / f"case{number}.nii.gz")).images
        name, value = line.split(",")
        assert name == f"case{number}"
        assert float(value) == pytest.approx(method.eval().predict(images).mean().item(), rel=1e-4)
    with pytest.raises(ConfigError, match="--largest-component: are for models that segment"):
        predict(tmp_path / "run", cases, tmp_path / "again", keep_largest=True, device="cpu")


STACKS = """
kind: train
data: {name: targeted_stacks, source: {name: folder, root: nowhere}, target: TARGET, size: [16, 16], num_slices: 6}
method:
  name: METHOD
  encoder: {name: volume, slice_encoder: {name: conv}, attention: {name: none}, dim: 8, num_layers: 1}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""


@pytest.mark.parametrize(("name", "target"), [("regression", "{name: label_volume}"), ("classification", "COLUMN")])
def test_an_encoder_that_looks_across_slices_answers_for_the_whole_volume(stage, tmp_path, cases, name, target):
    column = "{name: column, path: nowhere.csv, column: kind, classes: [well, ill]}"
    text = STACKS.replace("METHOD", name).replace("TARGET", target.replace("COLUMN", column))
    (tmp_path / "fine.yaml").write_text(text)
    stage = config.load(tmp_path / "tiny.yaml").stages["fine"]
    spec = ImageSpec(2, 1, (16, 16), 8, num_volumes=8, num_slices=(6, 6))
    spec = replace(spec, **({"target": "volume, ml"} if name == "regression" else {"classes": ("well", "ill")}))
    method = config.build(stage.method, "methods", spec=spec, seed=3)
    export_model(tmp_path / "run" / "fine" / "model", method, stage, spec, {"seed": 3})
    predict(tmp_path / "run", cases, tmp_path / "out", device="cpu")
    data = config.build(stage.data, "data", seed=3)
    _, *rows = [line.split(",") for line in (tmp_path / "out" / "predictions.csv").read_text().splitlines()]
    for row, number in zip(rows, range(3), strict=True):
        stack = data.new_case(formats.case_file(cases / f"case{number}.nii.gz")).images
        assert stack.shape == (6, 1, 16, 16)
        answer = method.eval().predict(stack[None])[0]
        expected = answer if name == "regression" else answer.softmax(dim=0)
        assert [float(cell) for cell in row[-len(expected) :]] == pytest.approx(expected.tolist(), rel=1e-4)


def test_only_the_largest_piece_of_each_label_is_kept(run_folder, tmp_path):
    def write_case(voxels, affine):
        voxels[0, 0, 0] = voxels[10, 2, 3] = 300  # two specks beside the box
        itk.write_volume(tmp_path / "in/a.nrrd", voxels, affine)

    folder = box(tmp_path / "in", write_case)
    predict(run_folder, folder, tmp_path / "all", device="cpu")
    assert (formats.read(formats.case_file(tmp_path / "all/a.nrrd")).voxels == 1).sum() == 3 * 4 * 6 + 2
    predict(run_folder, folder, tmp_path / "out", keep_largest=True, device="cpu")
    check_box(tmp_path / "out/a.nrrd")


def test_a_case_that_cannot_be_read_into_memory_is_forecast_and_the_others_are_done(run_folder, cases, tmp_path):
    voxels = np.random.default_rng(0).normal(0, 1, (80, 80, 80)).astype(np.float32)
    write(cases / "big.nii.gz", voxels, np.eye(4))
    with pytest.raises(CasesFailed, match=r"1 of 4 cases failed.*\n  big: .*512000 voxels need about .* are free"):
        predict(run_folder, cases, tmp_path / "out", memory=0.01, workers=1, device="cpu")
    assert (tmp_path / "out" / "case2.nii.gz").exists()


@pytest.mark.slow
def test_a_volume_too_large_for_its_answer_is_predicted_alike_in_slabs(volume_stage, tmp_path, monkeypatch, capsys):
    spec = ImageSpec(3, 1, (8, 8, 8), 8, ("background", "bright"))
    method = config.build(volume_stage.method, "methods", spec=spec, seed=3)
    export_model(tmp_path / "run" / "fine" / "model", method, volume_stage, spec, {"seed": 3})
    voxels = np.random.default_rng(0).normal(0, 1, (70, 12, 10)).astype(np.float32)
    write(tmp_path / "in" / "a.nii.gz", voxels, rotation(25))
    predict(tmp_path / "run", tmp_path / "in", tmp_path / "whole", probabilities=True, device="cpu")
    assert "slabs" not in capsys.readouterr().out
    monkeypatch.setattr("medgraph.runner.predict.check_reading", lambda *_, **__: None)
    predict(tmp_path / "run", tmp_path / "in", tmp_path / "slabs", probabilities=True, memory=1e-5, device="cpu")
    assert "a: 70 x 12 x 10 voxels, about 0.00 GiB at once; in 4 slabs of" in capsys.readouterr().out
    grid = formats.read_grid(tmp_path / "in" / "a.nii.gz")
    masks = [formats.read_labels(tmp_path / p / "a.nii.gz", grid, ("background", "bright")) for p in ("whole", "slabs")]
    np.testing.assert_array_equal(*masks)
    maps = [formats.read(formats.case_file(tmp_path / p / "a_bright.nii.gz")).voxels for p in ("whole", "slabs")]
    np.testing.assert_allclose(*maps, atol=1e-5)


def test_slices_with_context_are_predicted_with_all_of_their_stack(run_folder, cases, tmp_path, monkeypatch):
    seen = []
    loaded = load_model(run_folder / "fine" / "model")
    monkeypatch.setattr("medgraph.runner.predict._VALUES_AT_ONCE", 1)
    monkeypatch.setattr("medgraph.runner.predict.load_model", lambda folder: loaded)

    def background(images):
        seen.append(len(images))
        return torch.zeros(len(images), 2, *images.shape[2:])

    loaded.method.predict = background
    predict(run_folder, cases, tmp_path / "single", device="cpu")
    assert set(seen) == {1}
    seen.clear()
    loaded.method.context = torch.nn.Identity()
    predict(run_folder, cases, tmp_path / "stacks", device="cpu")
    assert seen == [formats.read(formats.case_file(path)).voxels.shape[1] for path in sorted(cases.iterdir())]


def test_memory_that_torch_does_not_get_is_told_for_the_case(run_folder, cases, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("medgraph.runner.predict._write_case", fail)
    with pytest.raises(CasesFailed, match="case0: MemoryError"):
        predict(run_folder, cases, tmp_path / "out", device="cpu")


@pytest.mark.slow
@pytest.mark.skipif("MEDGRAPH_DATA" not in os.environ, reason="MEDGRAPH_DATA names no folder with the data set sts")
def test_a_ct_gets_a_mask_that_overlays_it(run_folder, tmp_path):
    image = Path(os.environ["MEDGRAPH_DATA"]) / "sts" / "STS_002" / "CT_image.nii.gz"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ct.nii.gz").symlink_to(image)
    predict(run_folder, tmp_path / "in", tmp_path / "out", device="cpu")
    ct, mask = (formats.read(formats.case_file(tmp_path / place / "ct.nii.gz")) for place in ("in", "out"))
    assert mask.grid.same_as(ct.grid)
    assert mask.spacing == pytest.approx(ct.spacing)
    for corner in ([0, 0, 0], [40, 80, 20]):
        np.testing.assert_allclose(mask.affine @ [*corner, 1], ct.affine @ [*corner, 1], atol=1e-3)
    assert 0 < (mask.voxels == 1).mean() < 0.2
    assert ct.voxels[mask.voxels == 1].min() > np.median(ct.voxels)
