"""What a user gets wrong about volumes is told by `medgraph check`, in one line, before any training."""

import sys

import numpy as np
import pytest
from PIL import Image

from medgraph import cli


@pytest.fixture
def colors(tmp_path):
    """A folder of color images."""
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def said(monkeypatch, capsys, *overrides) -> list[str]:
    """Lines that the command leaves with."""
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "smoke-volume", *overrides])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    return capsys.readouterr().err.strip().splitlines()


WRONG = {
    "inter.method.views.num_slices=40": (
        "inter.method: 40 slices with stride 2 span 79, but the shortest training volume has 4",
        "Lower num_slices or stride, or set allow_short",
    ),
    "inter.data.axis=3": ("inter.data.axis: expected one of 0, 1, 2, got 3",),
    "inter.method.assigner.num_prototypes=9": (
        "inter.method: assigner.num_prototypes: 9 prototypes for 24 training volumes; expected at most a quarter, 6",
    ),
    "masked.method.mask_ratio=1.0": ("mask_ratio: 1.0 hides ", "expected some to stay visible"),
    "masked.method.encoder.slice_encoder.stem=imagenet": (
        "masked.method.encoder: starts from stage 'intra', but ",
        "Give both the same depth, width and stem",
    ),
}


@pytest.mark.parametrize("override", WRONG)
def test_it_is_one_line_with_key_and_remedy(override, monkeypatch, capsys):
    lines = said(monkeypatch, capsys, override)
    assert len(lines) <= 2  # the second stage that takes the same encoder may say it too
    for words in WRONG[override]:
        assert words in lines[0]


def test_mixed_channel_counts_are_told(monkeypatch, capsys, colors):
    images = f"{{name: images, root: {colors}, labels: null, channels: 3, size: [32, 32]}}"
    lines = said(monkeypatch, capsys, f"joint.data.image_data={images}")
    assert "image_data has 3 channels, volume_data 1. Give both the same." in lines[0]
    slices = "{name: slices, source: {name: sample}, axis: 1, size: [32, 32]}"
    lines = said(monkeypatch, capsys, f"joint.data.image_data={{name: mixed, data: [{slices}, {images}]}}")
    assert "the sets differ in channels: 1, 3. Give all of them the same." in lines[0]
