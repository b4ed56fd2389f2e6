import io
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import resnet18
from rich.console import Console

from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.errors import ConfigError
from medgraph.evaluation.scores import Scores
from medgraph.runner import compare
from medgraph.runner.checkpoint import read_tensors
from medgraph.runner.compare import arm_folder, table
from medgraph.runner.export import export_encoder
from medgraph.runner.folder import RunFolder
from medgraph.runner.foreign import adopt
from medgraph.runner.handover import check_handovers
from medgraph.runner.report import print_table


def store(path, arm, seed, rows):
    folder = arm_folder(path, arm, 4, seed)
    folder.mkdir(parents=True)
    Scores(rows).to_json(folder / "scores.json")


def stage(seeds, foreign=None):
    return SimpleNamespace(name="verdict", compare=SimpleNamespace(num_labelled=(4,), seeds=seeds, foreign=foreign))


def test_cases_are_paired_after_averaging_over_seeds(tmp_path):
    for arm, offset in (("pretrained", 0.1), ("from scratch", 0.0)):
        for seed in (0, 1):
            rows = [
                {"case": case, "label": label, "dice": 0.5 + offset + seed / 10, "hd95": 2.0}
                for case in ("a", "b", "c")
                for label in ("front", "back")
            ]
            store(tmp_path, arm, seed, rows)
    found = table(stage((0, 1)), tmp_path, 0)
    assert [(row["label"], row["metric"], row["chief"]) for row in found] == [
        ("back", "dice", False),
        ("back", "hd95", False),
        ("front", "dice", False),
        ("front", "hd95", False),
        ("mean", "dice", True),
        ("mean", "hd95", False),
    ]
    assert found[4]["first"] == pytest.approx(0.65)
    assert found[4]["difference"]["mean"] == pytest.approx(0.1)
    assert (found[4]["difference"]["n"], found[4]["over"]) == (3, "cases")


def test_one_figure_for_the_whole_set_is_paired_over_seeds(tmp_path):
    for arm, offset in (("pretrained", 0.2), ("from scratch", 0.0)):
        for seed in (0, 1, 2):
            store(tmp_path, arm, seed, [{"case": "test", "label": "paper", "macro_f1": 0.5 + offset + seed / 100}])
    (row,) = table(stage((0, 1, 2)), tmp_path, 0)
    assert (row["label"], row["chief"], row["over"]) == ("paper", True, "seeds")
    assert row["difference"]["n"] == 3
    assert row["difference"]["mean"] == pytest.approx(0.2)


def test_a_metric_that_a_label_lacks_has_no_row(tmp_path):
    rows = [{"case": "a", "label": "front", "dice": 1.0, "hd95": 0.0}, {"case": "b", "label": "back", "dice": 0.5}]
    for arm in ("pretrained", "from scratch"):
        store(tmp_path, arm, 0, rows)
    assert ("back", "hd95") not in [(row["label"], row["metric"]) for row in table(stage((0,)), tmp_path, 0)]


def test_three_arms_make_three_pairs(tmp_path):
    for arm, dice in (("pretrained", 0.8), ("foreign", 0.7), ("from scratch", 0.5)):
        store(tmp_path, arm, 0, [{"case": case, "label": "front", "dice": dice} for case in "ab"])
    found = table(stage((0,), "x/foreign"), tmp_path, 0)
    assert [(row["arms"], pytest.approx(row["difference"]["mean"])) for row in found] == [
        (["pretrained", "foreign"], 0.1),
        (["pretrained", "from scratch"], 0.3),
        (["foreign", "from scratch"], 0.2),
    ]
    assert found[0]["seeds"] == [[pytest.approx(0.8), pytest.approx(0.7)]]


PIPELINE = """
name: arms
seed: 3
stages:
  verdict: {config: verdict.yaml, start_from: ROOT/ours}
"""
VERDICT = """
kind: compare
data: {name: classified_arrays, path: ROOT/a.npz}
method: {name: classification, encoder: {name: resnet, depth: 18, width: 4}, freeze: true}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
evaluator: {name: classification}
compare: {num_labelled: [4, all], seeds: [0], foreign: ROOT/foreign}
"""


@pytest.fixture
def files(tmp_path):
    """A pipeline of one compare stage with a foreign arm: our encoder, another one of another width, and images."""
    rng = np.random.default_rng(0)
    stored = {f"{part}_images": rng.integers(0, 256, (8, 16, 16), dtype=np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "a.npz", **stored, **{f"{part}_labels": np.arange(8) % 2 for part in ("train", "test")})
    spec, node = ImageSpec(2, 1, (16, 16), 8), {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
    export_encoder(tmp_path / "ours", config.build(node, "encoders", spec=spec), node, spec, {})
    net = resnet18(spatial_dims=2, n_input_channels=3, widen_factor=0.125, conv1_t_stride=2, num_classes=3)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    adopt(tmp_path / "net.pth", {**node, "width": 8, "stem": "imagenet"}, spec, tmp_path / "foreign")
    for name, text in (("arms.yaml", PIPELINE), ("verdict.yaml", VERDICT)):
        (tmp_path / name).write_text(text.replace("ROOT", str(tmp_path)))
    return tmp_path


def run_stage(files):
    pipeline, said = config.load(files / "arms.yaml"), io.StringIO()
    check_handovers(pipeline)
    folder = RunFolder(files / "run")
    compare.compare_stage(pipeline.stages["verdict"], pipeline, folder, "cpu", Console(file=said, width=200))
    return folder.stage("verdict"), said.getvalue()


@pytest.mark.slow
def test_a_foreign_encoder_of_another_width_is_fine_tuned_beside_ours_and_not_twice(files):
    path, said = run_stage(files)
    assert sorted(p.name for p in path.iterdir() if p.is_dir()) == sorted(
        f"{arm}-{count}-seed3" for arm in ("pretrained", "foreign", "from-scratch") for count in (4, "all")
    )
    adopted, _ = read_tensors(files / "foreign" / "encoder.safetensors")
    kept, _ = read_tensors(path / "foreign-all-seed3" / "encoder" / "encoder.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in adopted.items())  # frozen: as it came
    facts = json.loads((path / "foreign-all-seed3" / "model" / "model.json").read_text())
    assert facts["method"]["encoder"]["width"] == 8
    assert facts["facts"]["num_labelled"] is None
    rows = json.loads((path / "table.json").read_text())
    assert [row["num_labelled"] for row in rows if row["chief"]] == [4] * 3 + ["all"] * 3
    assert all(row["over"] == "cases" for row in rows)
    (path / "foreign-all-seed3" / "scores.json").unlink()  # as if stopped before the last arm was done
    before = {p: p.stat().st_mtime_ns for p in path.rglob("scores.json")}
    _, said = run_stage(files)
    assert said.count("finished before, skipped") == 5
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    assert json.loads((path / "table.json").read_text()) == rows


def test_a_foreign_folder_without_encoder_or_for_other_data_is_refused_before_training(files):
    spec = ImageSpec(3, 1, (16, 16, 16), 8)
    node = {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
    export_encoder(files / "volumes", config.build(node, "encoders", spec=spec), node, spec, {})
    told = r"whose encoder takes 3D with 1 channel, but the data of this stage are 2D with 1 channel"
    with pytest.raises(ConfigError, match=rf"verdict\.compare\.foreign: .*volumes', {told}"):
        check_handovers(config.load(files / "arms.yaml", [f"verdict.compare.foreign={files}/volumes"]))
    with pytest.raises(ConfigError, match=rf"verdict\.method\.encoder: starts from '.*volumes', {told}"):
        check_handovers(config.load(files / "arms.yaml", [f"verdict.start_from={files}/volumes"]))
    with pytest.raises(
        ConfigError, match=r"verdict\.compare\.foreign: expected the folder of an encoder, .* found none"
    ):
        config.load(files / "arms.yaml", [f"verdict.compare.foreign={files}/nothing"])


def test_numbers_and_shares_that_the_data_cannot_give_are_told_before_training(files):
    def told(labels, **changes):
        keys = [f"verdict.{key}={value}" for key, value in changes.items()]
        with pytest.raises(ConfigError) as error:
            config.dry_build(config.load(files / "arms.yaml", [f"verdict.compare.num_labelled={labels}", *keys]))
        return str(error.value)

    assert config.dry_build(config.load(files / "arms.yaml", ["verdict.compare.num_labelled=[0.5, 8, all]"])) == []
    where = "command line: verdict.compare.num_labelled: "
    assert told("[4, 9]").startswith(f"{where}num_labelled is 9, expected 2, the number of classes, to 8")
    assert told("[0.1]").startswith(f"{where}num_labelled is 0.1, which is 1 of 8, expected 2")
    assert "train.batch_size: one batch takes 4, but the data have 2 training examples with 0.25" in told("[0.25, all]")
    assert told("[1.0]").startswith(f"{where}expected a whole number, or a share above 0 and below 1 such as 0.1")
    assert "command line: verdict.data.num_labelled: has no effect, as compare.num_labelled says" in told(
        "[4]", **{"data.num_labelled": 4}
    )
    bare = told("[4]", data="{name: slices, source: {name: sample}}")
    assert f"{where}has no effect on the data 'slices', whose labels are not counted" in bare


@pytest.mark.slow
def test_a_share_of_the_labels_has_arms_of_its_own(files):
    pipeline = config.load(files / "arms.yaml", ["verdict.compare={num_labelled: [0.5, 6], seeds: [0]}"])
    said, folder = io.StringIO(), RunFolder(files / "run")
    compare.compare_stage(pipeline.stages["verdict"], pipeline, folder, "cpu", Console(file=said, width=200))
    path = folder.stage("verdict")
    assert "pretrained, 50 % labelled, seed 3" in said.getvalue()
    stored = json.loads((path / "pretrained-0.5-seed3" / "model" / "model.json").read_text())
    assert (stored["facts"]["num_labelled"], stored["spec"]["num_examples"]) == (0.5, 4)
    rows = json.loads((path / "table.json").read_text())
    assert [row["num_labelled"] for row in rows if row["chief"]] == [0.5, 6]
    print_table(rows, Console(file=said, width=80))
    assert "cases kept aside, 50 % labelled for training" in said.getvalue()


def test_the_digest_follows_the_foreign_weights(files):
    before = config.load(files / "arms.yaml").stages["verdict"].digest
    (files / "ours" / "encoder.safetensors").replace(files / "foreign" / "encoder.safetensors")
    (files / "ours" / "encoder.safetensors").write_bytes((files / "foreign" / "encoder.safetensors").read_bytes())
    assert config.load(files / "arms.yaml").stages["verdict"].digest != before


def test_an_arm_that_is_copied_has_its_scores_only_when_all_else_is_there(tmp_path, monkeypatch):
    twin, path = tmp_path / "twin", tmp_path / "copy"
    (twin / "encoder").mkdir(parents=True)
    for name in ("cost.json", "encoder/encoder.json", "metrics.jsonl", "scores.json"):
        (twin / name).write_text(name)
    copied, real = [], shutil.copy2

    def killed_at_the_third(source, target, **settings):
        copied.append(Path(source).name)
        if len(copied) == 3:
            raise KeyboardInterrupt
        return real(source, target, **settings)

    with monkeypatch.context() as patch:
        copytree = partial(shutil.copytree, copy_function=killed_at_the_third)
        patch.setattr(compare, "shutil", SimpleNamespace(**{**vars(shutil), "copytree": copytree}))
        with pytest.raises(KeyboardInterrupt):
            compare._copy_arm(twin, path)
    assert "scores.json" not in copied
    assert not (path / "scores.json").exists()
    compare._copy_arm(twin, path)  # the next run goes over what is there
    assert {file.relative_to(path) for file in path.rglob("*") if file.is_file()} == {
        file.relative_to(twin) for file in twin.rglob("*") if file.is_file()
    }
