import json

import pytest

import medgraph


@pytest.mark.slow
def test_training_exceeds_what_averaging_the_features_gives_on_acm(tmp_path):
    pipeline = tmp_path / "floor.yaml"
    pipeline.write_text(
        "name: floor\nseed: 0\nstages:\n"
        "  pretrain: {config: hetero/meow-best.yaml}\n"
        "  probe: {config: hetero/probe.yaml, start_from: pretrain}\n"
    )
    short = [
        "pretrain.choose=null",
        "pretrain.train.members=1",
        "pretrain.train.epochs=15",
        "probe.evaluator.num_probes=3",
    ]
    folder = medgraph.run(pipeline, short, out=tmp_path / "run", device="cpu")
    rows = json.loads((folder / "probe" / "scores.json").read_text())["rows"]
    assert len(rows) == 3  # 20, 40 and 60 labels a class
    for row in rows:
        floor = max(row["floor_features_macro_f1"], row["floor_averaged_macro_f1"])
        assert row["macro_f1"] > floor + 1, row["case"]
