"""The whole way, on the volumes that ship: every stage, monitors, pictures, verdict."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from medgraph import config
from medgraph.runner.runner import run


@pytest.mark.slow
def test_every_stage_leaves_an_encoder_monitors_and_pictures(tmp_path):
    start = time.process_time()
    out = run(config.load("smoke-volume"), out=tmp_path / "run", device="cpu")
    assert time.process_time() - start < 30
    monitors = {
        "intra": {"code_entropy", "source_nmi", "loss_minus_ln_k", "used_prototypes", "effective_rank"},
        "masked": {"effective_rank", "order_sensitivity"},
        "inter": {"code_entropy", "source_nmi", "loss_minus_ln_k", "used_prototypes", "order_sensitivity"},
        "joint": {"code_entropy", "volume_code_entropy", "volume_loss_minus_ln_k", "order_sensitivity", "source_nmi"},
    }
    for stage, wanted in monitors.items():
        first = json.loads((out / stage / "metrics.jsonl").read_text().splitlines()[0])
        assert wanted <= first.keys(), stage
        assert (out / stage / "encoder" / "encoder.safetensors").exists()
        assert len(list((out / stage / "slice_attention").glob("*.png"))) == (0 if stage == "intra" else 4)
    rows = json.loads((out / "segment" / "table.json").read_text())
    assert all(row["difference"]["n"] == 16 for row in rows)


@pytest.mark.slow
def test_volumes_and_images_of_several_sources_train_together(tmp_path):
    """Slices along two axes and a folder of PNG files; no source has more than half of any batch."""
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    sets = config.load("smoke-mixed").stages["joint"].data["image_data"]["data"]
    images = f"{{name: images, root: {tmp_path / 'images'}, labels: null, size: [32, 32]}}"
    slices = [f"{{name: slices, source: {{name: sample}}, axis: {s['axis']}, size: [32, 32], stride: 2}}" for s in sets]
    override = f"joint.data.image_data.data=[{', '.join([*slices, images])}]"
    start = time.process_time()
    out = run(config.load("smoke-mixed", [override]), out=tmp_path / "run", device="cpu")
    assert time.process_time() - start < 30
    first = json.loads((out / "joint" / "metrics.jsonl").read_text().splitlines()[0])
    wanted = {"source_nmi", "code_entropy", "loss_minus_ln_k", "used_prototypes", "effective_rank", "order_sensitivity"}
    wanted |= {f"volume_{name}" for name in wanted - {"order_sensitivity"}}
    assert wanted <= first.keys()
    assert first["volume_source_nmi"] > 0  # two sources, and more than one cluster
    assert len(list((out / "joint" / "slice_attention").glob("*.png"))) == 4
    assert (out / "segment" / "table.json").exists()
