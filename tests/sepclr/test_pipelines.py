"""The smoke pipeline from YAML to table and report; every arm of the comparison passes the check."""

import json
import shlex

import pytest
import torch
from reference.contrast_files import write_digits, write_images, write_pictures

from medgraph import config, load_encoder, shipped
from medgraph.errors import DataError
from medgraph.runner.runner import run
from medgraph.runner.summary import curves
from medgraph.sepclr.groups import grouped_batches

SHORT = ["pretrain.train.epochs=1", "pretrain.train.steps_per_epoch=1", "pretrain.data.lesions_per_subject=2"]
QUICK = [*SHORT, "pretrain.evaluator.probes=[linear]", "pretrain.evaluator.with_pca=false"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path_factory.getbasetemp() / "volumes"))


@pytest.mark.slow
def test_smoke_leaves_scores_report_and_encoder(tmp_path, capsys):
    out = run(config.load("smoke-sepclr", SHORT), out=tmp_path / "run", device="cpu")
    rows = json.loads((out / "pretrain" / "scores.json").read_text())["rows"]
    cases = {row["case"].partition(",")[0] for row in rows}
    assert {"group", "radius", "side", "volume", "delta", "dependence"} <= cases
    page = (out / "report.html").read_text()
    assert "Scores of pretrain" in page
    assert "Spaces of the kept-aside examples by attribute" in page
    assert "group, AUC" in capsys.readouterr().out
    encoder = load_encoder(out / "pretrain" / "encoder")
    parts = encoder.parts(torch.zeros(2, 1, 15, 20, 13))
    assert (parts.common.shape, parts.salient.shape) == ((2, 8), (2, 4))


@pytest.mark.slow
def test_batches_of_a_run_hold_both_groups_and_a_too_large_one_is_refused(tmp_path):
    out = run(config.load("smoke-sepclr", QUICK), out=tmp_path / "run", device="cpu")
    logged = json.loads((out / "pretrain" / "metrics.jsonl").read_text().splitlines()[0])
    assert logged["background_norm"] > 0
    assert logged["target_norm"] > 0
    watched = {"common_group_auc", "salient_group_auc", "dependence", "self_share", "above_floor"}
    assert all(-0.5 <= logged[name] <= 1.5 for name in watched)
    assert {f"pretrain: {name}" for name in watched} <= set(curves(out))  # and so in the report
    too_large = config.load("smoke-sepclr", [*QUICK, "pretrain.train.batch_size=30"])
    with pytest.raises(DataError, match="the background group has 12 examples, but a batch of 30 takes 15 of it"):
        run(too_large, out=tmp_path / "large", device="cpu")


SAMPLE = ("data.source={name: sample}", "train.batch_size=16")
ARMS = [
    ("sepclr-digits", "data.root=ROOT", "method.independence_weight=0"),
    ("sepclr-shapes", "method.collapse_weight=0"),
    ("sepclr-lesion", *SAMPLE),
    ("sepclr-lesion", *SAMPLE, "method.independence_loss={name: kernel_joint_entropy}"),
    ("sepclr-lesion", *SAMPLE, "method.independence_loss={name: vclub}"),
    ("sepclr-lesion", *SAMPLE, "method.salient_form=target_only"),
    ("sepclr-lesion", *SAMPLE, "method.queue_size=512"),
    ("sepclr-lesion", "data={name: atrophy_volumes, source: {name: sample}, pool: 2}", "train.batch_size=16"),
    ("simclr-lesion", *SAMPLE),
    ("simclr-lesion", *SAMPLE, "method.loss={name: alignment_uniformity}"),
    ("sepclr-shapes-supervised", "method.salient_weight=10"),
    (
        "sepclr-folders",
        "data.source={name: group_manifest, path: ROOT/a.csv, common_attributes: [age]}",
        "train.batch_size=16",
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with digits, images to lay them over, and a list of pictures of two groups."""
    folder = tmp_path_factory.mktemp("files")
    write_digits(folder / "mnist")
    write_images(folder / "cifar10")
    write_pictures(folder, 40)
    rows = [f"s{n},{n}.png,{('background', 'target')[n % 2]},{30 + n}" for n in range(40)]
    (folder / "a.csv").write_text("\n".join(["subject,image,group,age", *rows]) + "\n")
    return str(folder)


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_every_arm_passes_the_check(arm, root):
    pipeline, *changes = arm
    loaded = config.load(pipeline, [*(f"pretrain.{change.replace('ROOT', root)}" for change in changes), "seed=3"])
    assert config.dry_build(loaded) == []  # where data are not found, no method is built
    assert loaded.seed == 3


@pytest.mark.parametrize("name", ["sepclr-lesion", "simclr-lesion"])
def test_volumes_that_ship_can_be_tried_as_the_config_says(name):
    (file,) = config.config_files(shipped.pipelines()[name]).values()
    words = file.read_text(encoding="utf-8").partition("To try them: ")[2].partition("kind:")[0].replace("#", "")
    stage = config.load(name, [word.rstrip(".") for word in shlex.split(words)]).stages["pretrain"]
    train = config.build(stage.data, "data", seed=1).train()
    assert len(grouped_batches(train.is_target, stage.train.batch_size, 0.5, seed=1, epoch=0)) > 10


CASES_WITHOUT_ATTRIBUTES = {"group, AUC", "group, gap", "delta", "dependence, HSIC", "norm, background over target"}


@pytest.mark.slow
def test_your_own_two_folders_need_no_attribute(tmp_path):
    write_pictures(tmp_path / "without", 24, size=(16, 16))
    write_pictures(tmp_path / "with", 24, size=(20, 20), value=150)
    changes = {
        "data.source.background": tmp_path / "without",
        "data.source.target": tmp_path / "with",
        "data.source.fractions": "[0.5, 0.0, 0.5]",
        "data.size": "[16, 16]",
        "method.encoder.common_encoder.width": 4,
        "method.encoder.salient_encoder.width": 4,
        "train.batch_size": 16,
        "train.epochs": 1,
        "evaluator.probes": "[linear]",
    }
    pipeline = config.load("sepclr-folders", [f"pretrain.{key}={value}" for key, value in changes.items()])
    out = run(pipeline, out=tmp_path / "run", device="cpu")
    rows = json.loads((out / "pretrain" / "scores.json").read_text())["rows"]
    assert {row["case"] for row in rows} == CASES_WITHOUT_ATTRIBUTES
