"""Self-training: a network labels what has no label, and the next one is trained on all of it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from reference.answering import ANSWERING
from reference.dicom_files import write_series

import medgraph
from medgraph import config
from medgraph.data import formats
from medgraph.data.cases import of_part
from medgraph.data.samples import SampleSource
from medgraph.errors import CheckpointError, ConfigError
from medgraph.runner.encoder_folder import WEIGHTS
from medgraph.runner.model import load_model
from medgraph.runner.predict import predict

SEED = 6  # of networks that answer with several classes after three steps
ALONE = ("fine.train.members=1", "fine.method.encoder.width=8", "fine.data.size=[48, 48]", f"seed={SEED}")
ONCE = (*ALONE, "fine.train.self_training=1")
ALL = ("kind", "data", "method", "evaluator", "train", "compare", "start_from")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("self") / "answering.yaml"
    path.write_text(ANSWERING)
    return path


@pytest.fixture(scope="module")
def alone(pipeline):
    return medgraph.run(pipeline, ALONE, out=pipeline.parent / "alone", device="cpu")


@pytest.fixture(scope="module")
def finished(pipeline):
    return medgraph.run(pipeline, ONCE, out=pipeline.parent / "once", device="cpu")


def labels_of(round_):
    names = json.loads((round_ / "labels" / "labels.json").read_text())["labels"]
    return {case: round_ / "labels" / name for case, name in names.items()}


def same(first, second):
    return np.array_equal(*(nib.load(path).get_fdata() for path in (first, second)))


def data_of(pipeline, changes=ONCE):
    return config.build(config.load(pipeline, changes).stages["fine"].data, "data", seed=SEED)


def test_the_first_round_gives_the_labels_of_the_network_trained_alone(pipeline, alone, finished, tmp_path):
    written = labels_of(finished / "fine" / "round-1")
    cases = {case.id: case for case in data_of(pipeline).unlabelled_cases()}
    assert sorted(written) == sorted(cases)
    assert len(cases) == 22
    scans = tmp_path / "scans"
    scans.mkdir()
    for case in cases.values():
        shutil.copy(case.image, scans)
    predicted = predict(alone, scans, tmp_path / "out", device="cpu")
    found = set()
    for name, path in written.items():
        grid = formats.read_grid(cases[name].image)
        ours = formats.read_labels(path, grid, SampleSource().classes)
        np.testing.assert_array_equal(
            ours, formats.read_labels(predicted / cases[name].image.name, grid, SampleSource().classes)
        )
        found |= set(np.unique(ours))
    assert len(found) > 1  # else any network's labels would be these
    card = (finished / "fine" / "encoder" / "README.md").read_text()
    assert "- Self-training, rounds: 1; volumes that a network labelled: 22\n" in card
    assert "Self-training" not in (alone / "fine" / "encoder" / "README.md").read_text()


def test_the_last_network_learned_from_them(pipeline, alone, finished):
    """It is what the same training gives on a set where these files are the labels of these volumes."""
    plain, self_trained = ((run / "fine" / "encoder" / WEIGHTS).read_bytes() for run in (alone, finished))
    assert plain != self_trained
    data = data_of(pipeline)
    given = data.with_labels(labels_of(finished / "fine" / "round-1"))
    assert len(given.labelled_cases()) == 24
    assert [case.id for case in given.labelled_cases()][:2] == [case.id for case in data.labelled_cases()]
    assert all(case.label.parent.name == "labels" for case in given.labelled_cases()[2:])
    assert len(given.train()) == given.spec.num_examples > 10 * len(data.train())


def test_the_second_round_learns_from_the_first_and_labels_anew(pipeline, finished):
    run = medgraph.run(pipeline, [*ALONE, "fine.train.self_training=2"], out=pipeline.parent / "twice", device="cpu")
    first, second = labels_of(run / "fine" / "round-1"), labels_of(run / "fine" / "round-2")
    again = labels_of(finished / "fine" / "round-1")
    assert all(same(first[case], again[case]) for case in again)
    assert any(not same(first[case], second[case]) for case in first)
    method = load_model(finished / "fine" / "model").method  # what one round leaves labels in the second
    data = data_of(pipeline)
    case = data.unlabelled_cases()[0]
    new = data.whole(case)
    with torch.no_grad():
        ours = new.to_native(method.predict(new.images).argmax(dim=1).to(torch.uint8))
    np.testing.assert_array_equal(ours, formats.read_labels(second[case.id], new.grid, SampleSource().classes))


@pytest.mark.slow
@pytest.mark.parametrize("until", ["round-1/metrics.jsonl", "round-1/labels/labels.json", "metrics.jsonl"])
def test_killed_it_ends_with_the_same_weights_and_trains_no_round_twice(pipeline, finished, tmp_path, until):
    command = [sys.executable, "-m", "medgraph", "run", str(pipeline), *ONCE, "--out", "run", "--device", "cpu"]
    settings = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "fine" / until).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    done = subprocess.run([*command, "--resume"], check=True, stdout=subprocess.PIPE, text=True, **settings)
    assert ("round 1: " in done.stdout) == (until == "round-1/metrics.jsonl")
    ours, theirs = (run / "fine" / "encoder" / WEIGHTS for run in (tmp_path / "run", finished))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("damage", [3, {}, {"001": "00000-gone.nii.gz"}, "a number", "a missing file"])
def test_damaged_labels_are_told_with_what_to_do(pipeline, finished, tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "fine" / "done.json").unlink()
    index = run / "fine" / "round-1" / "labels" / "labels.json"
    names = json.loads(index.read_text())["labels"]
    first = next(iter(names))
    if damage == "a missing file":
        (index.parent / names[first]).unlink()
    else:
        index.write_text(json.dumps({"labels": {**names, first: 3} if damage == "a number" else damage}))
    with pytest.raises(CheckpointError, match=r"labels\.json.*Remove .*round-1"):
        medgraph.run(pipeline, ONCE, out=run, device="cpu", resume=True)


def test_each_member_labels_for_itself(pipeline, finished, tmp_path):
    changes = ["fine.train.members=2", *ONCE[1:]]
    path = medgraph.run(pipeline, changes, out=tmp_path / "run", device="cpu") / "fine"
    first, second = (labels_of(path / member / "round-1") for member in ("member-1", "member-2"))
    alone = labels_of(finished / "fine" / "round-1")
    assert all(same(first[case], alone[case]) for case in alone)
    assert any(not same(first[case], second[case]) for case in first)


COMPARED = """
name: compared
seed: 4
stages:
  intra: {config: smoke/volume-intra.yaml}
  verdict:
    start_from: intra
    config:
      kind: compare
      data: {name: labelled_slices, source: {name: sample}, size: [32, 32]}
      method:
        name: segmentation
        encoder: {name: resnet, depth: 18, width: 8, stem: small}
        transform: {name: segmentation_augment}
        loss: {name: dice_cross_entropy}
      train:
        epochs: 1
        steps_per_epoch: 2
        batch_size: 4
        optimizer: {name: adamw, lr: 0.01}
        schedule: {name: constant}
      evaluator: {name: segmentation}
      compare: {num_labelled: [2, all], seeds: [0]}
"""


def test_both_arms_of_a_comparison_label_for_themselves(tmp_path, capsys):
    path = tmp_path / "compared.yaml"
    path.write_text(COMPARED)
    run = medgraph.run(path, ["verdict.train.self_training=1"], out=tmp_path / "run", device="cpu") / "verdict"
    said = capsys.readouterr().out
    assert said.count("22 training volumes are labelled by the network of round 1") == 2
    assert said.count("no training volume is without label, so there is no self-training") == 2
    pretrained, scratch = (labels_of(run / f"{arm}-2-seed4" / "round-1") for arm in ("pretrained", "from-scratch"))
    assert any(not same(pretrained[case], scratch[case]) for case in scratch)
    assert not (run / "from-scratch-all-seed4" / "round-1").exists()
    assert json.loads((run / "table.json").read_text())


def test_without_it_a_stage_is_the_stage_it_was_before(pipeline):
    """Its digest, so that an older run goes on."""
    several, alone = (config.load(pipeline, [*ALONE, f"fine.train.self_training={n}"]).stages["fine"] for n in (1, 0))
    assert several.digest != alone.digest
    facts = {key: value for key, value in asdict(alone).items() if key in ALL}
    del facts["train"]["members"], facts["train"]["self_training"]
    assert alone.digest == hashlib.sha256(json.dumps([facts, SEED], sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("smoke-segment", ["swin.train.self_training=-1"], r"self_training: expected 0 or more, got -1"),
        ("smoke-segment", ["inter.train.self_training=1"], r"train\.self_training: has no effect on the data 'stacks'"),
        (
            "smoke-segment",
            ["swin.train.self_training=1", "swin.data.num_labelled=null"],
            r"self_training: has no effect, as the labels of all training volumes are used",
        ),
        (
            "quickstart",
            ["verdict.train.self_training=1", "verdict.compare.num_labelled=[all]"],
            r"verdict\.train\.self_training: has no effect",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(name, changes, told):
    with pytest.raises(ConfigError, match=told):
        config.dry_build(config.load(name, changes))


def copied(case, folder):
    """The scan and its label as NIfTI files."""
    folder.mkdir(parents=True)
    return shutil.copy(case.image, folder), shutil.copy(case.label, folder)


def as_dicom(case, folder):
    """The scan as a DICOM series, all in folders of one name."""
    volume = nib.as_closest_canonical(nib.load(case.image))
    write_series(
        folder / "series",
        volume.get_fdata().astype(np.int16),
        volume.affine,
        uid=f"1.2.{case.subject.encode().hex()[-8:]}",
    )
    nib.save(nib.as_closest_canonical(nib.load(case.label)), folder / "label.nii.gz")
    return folder / "series", folder / "label.nii.gz"


def as_photograph(case, folder):
    """A slice of the scan as JPEG, its label as PNG."""
    folder.mkdir(parents=True)
    scan, label = (nib.load(file).get_fdata()[:, 20] for file in (case.image, case.label))
    Image.fromarray((255 * scan / scan.max()).astype(np.uint8)).save(folder / "scan.jpg")
    Image.fromarray(label.astype(np.uint8)).save(folder / "label.png")
    return folder / "scan.jpg", folder / "label.png"


@pytest.mark.parametrize(("written", "axis"), [(copied, 1), (as_dicom, 1), (as_photograph, 2)])
def test_scans_without_a_label_are_labelled_too(pipeline, tmp_path, written, axis):
    """A set where 2 of 6 training scans have a label file."""
    rows = ["subject,image,label,split"]
    for index, case in enumerate(of_part(SampleSource(), "train")[:6] + of_part(SampleSource(), "test")[:2]):
        image, label = written(case, tmp_path / f"s{index}")
        rows.append(f"s{index},{image},{'' if 2 <= index < 6 else label},{case.part}")
    (tmp_path / "set.csv").write_text("\n".join(rows) + "\n")
    source = f"{{name: manifest, path: {tmp_path / 'set.csv'}, classes: [background, anterior, posterior]}}"
    changes = [f"fine.data.source={source}", f"fine.data.axis={axis}", "fine.data.num_labelled=null", *ONCE]
    changes += ["fine.train.batch_size=2"]
    with pytest.raises(ConfigError, match=r"image without label \(4 of 6 .* without_label: leave"):
        medgraph.run(pipeline, changes, out=tmp_path / "refused", device="cpu")
    changes += ["fine.data.without_label=leave"]
    run = medgraph.run(pipeline, changes, out=tmp_path / "run", device="cpu")
    written_labels = labels_of(run / "fine" / "round-1")
    data = data_of(pipeline, changes)
    assert sorted(written_labels) == sorted(case.id for case in data.unlabelled_cases())
    assert len({path.read_bytes() for path in written_labels.values()}) == 4
    assert len(data.with_labels(written_labels).labelled_cases()) == 6
