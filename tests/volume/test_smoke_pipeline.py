"""The whole way, on the volumes that ship: every stage, monitors, pictures, verdict."""

import json

import pytest

from medgraph import config
from medgraph.runner.runner import run


@pytest.mark.slow
def test_every_stage_leaves_an_encoder_monitors_and_pictures(tmp_path):
    out = run(config.load("smoke-volume"), out=tmp_path / "run", device="cpu")
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
