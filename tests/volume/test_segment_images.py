"""Plain images from YAML to masks: train, score, predict, and all three speak of the same pixels."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medgraph import cli, config
from medgraph.errors import ConfigError, DataError
from medgraph.evaluation.segmentation import dice
from medgraph.runner.handover import check_handovers
from medgraph.runner.runner import run

COLORS = "name: pre\nseed: 1\nstages:\n  pre: {config: pre.yaml}\n  segment: {config: SEGMENT, start_from: pre}\n"
PRETRAIN = """
kind: train
data: {name: images, root: ROOT, labels: null, channels: CHANNELS, size: [32, 32]}
method:
  name: contrast
  encoder: {name: resnet, depth: 18, width: 4}
  views: {name: image_views}
  loss: {name: nt_xent}
train: {epochs: 1, batch_size: 4, optimizer: {name: adamw, lr: 0.1}, schedule: {name: constant}}
"""


@pytest.fixture
def folder(tmp_path):
    """Color images whose reddish discs are numbered in the mask; of two sizes."""
    lines, root = ["file,split"], tmp_path / "data"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(12):
        rng, size = np.random.default_rng(i), (32, 36 - 4 * (i % 2))
        image, mask = rng.integers(60, 120, (*size, 3), dtype=np.uint8), np.zeros(size, np.uint8)
        for number, (y, x) in enumerate(rng.integers(6, 26, (2, 2)), start=1):
            disc = np.hypot(*(np.indices(size) - np.array([y, x])[:, None, None])) < 5
            image[disc] = (230, 90, 90)
            mask[disc] = number
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
        lines.append(f"{i}.png,{'train' if i < 8 else 'val'}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def changed(folder):
    """The shipped pipeline, made small."""
    keys = {"data.root": folder, "data.size": "[32, 32]", "method.encoder.width": 4, "train.batch_size": 4}
    return [f"segment.{key}={value}" for key, value in {**keys, "train.epochs": 25, "train.optimizer.lr": 0.01}.items()]


@pytest.mark.slow
def test_a_folder_of_png_becomes_a_folder_of_masks(folder, tmp_path):
    out = run(config.load("segment-images", changed(folder)), out=tmp_path / "run", device="cpu")
    rows = {row["case"]: row for row in json.loads((out / "segment" / "scores.json").read_text())["rows"]}
    assert set(rows) == {"8", "9", "10", "11"}
    assert set(rows["8"]) == {"case", "label", "dice", "hd95_px", "surface_dice", "area_error_px"}
    (tmp_path / "new").mkdir()
    for name in rows:
        (folder / "images" / f"{name}.png").rename(tmp_path / "new" / f"{name}.png")
    line = ["predict", str(out), str(tmp_path / "new"), "--out", str(tmp_path / "masks"), "--probabilities"]
    done = CliRunner().invoke(cli.app, [*line, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    for name, row in rows.items():
        found = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        truth = np.asarray(Image.open(folder / "masks" / f"{name}.png")) > 0
        assert found.shape == truth.shape
        assert set(np.unique(found)) <= {0, 1}
        assert dice(found == 1, truth) == pytest.approx(row["dice"])
        assert row["dice"] > 0.8  # discs of a color of their own
        chance = np.asarray(Image.open(tmp_path / "masks" / f"{name}_nucleus.png"))
        np.testing.assert_array_equal(chance > 2**15, found == 1)
    assert "hd95_px" in (out / "report.html").read_text()


def test_a_class_that_the_head_does_not_have_is_told_before_training(folder, tmp_path):
    mask = folder / "masks" / "11.png"
    Image.fromarray(np.asarray(Image.open(mask)) % 2 * 7).save(mask)  # of the part that is scored
    keys = [*changed(folder), "segment.data.binary=false", "segment.data.classes=[background, first, second]"]
    with pytest.raises(DataError, match=r"11\.png: label values 7, expected 0 to 2 for the classes background, first"):
        run(config.load("segment-images", keys), out=tmp_path / "run", device="cpu")
    assert not list((tmp_path / "run").rglob("metrics.jsonl"))


def test_an_encoder_of_images_is_fine_tuned_if_its_channels_are_those_of_the_data(folder, tmp_path):
    for channels in (3, 1):
        text = PRETRAIN.replace("ROOT", str(folder / "images")).replace("CHANNELS", str(channels))
        (tmp_path / "pre.yaml").write_text(text)
        (tmp_path / "both.yaml").write_text(COLORS.replace("SEGMENT", "segmentation/nuclei.yaml"))
        pipeline = config.load(tmp_path / "both.yaml", changed(folder))
        assert config.dry_build(pipeline) == []
        if channels == 3:
            check_handovers(pipeline)
        else:
            with pytest.raises(ConfigError) as error:
                check_handovers(pipeline)
            assert "whose encoder takes 2D with 1 channel, but the data of this stage are 2D with 3 channels" in str(
                error.value
            )
