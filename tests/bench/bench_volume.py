"""What pre-training on volumes costs: images per second, time outside the encoder, memory.

Run:
    python tests/bench/bench_volume.py              all four kinds of training, one thread and a core for views
    python tests/bench/bench_volume.py --only intra --steps 30
    python tests/bench/bench_volume.py --threads 2 --width 32

Each line is a process of its own on the volumes that ship with the package, with encoder, crops and batch of the
config that it names (configs/volume). Images are slices and crops that went through the slice encoder. Time is that of
all training, starts of epochs and checkpoints included; a run says the same figures at the end of every training.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIGS = {
    "intra": ("intra-swav", ["data.source"]),
    "inter": ("inter-swav", ["data.source"]),
    "masked": ("masked", ["data.source"]),
    "joint": ("joint", ["data.image_data.source", "data.volume_data.source"]),
}
FEWER = {  # the volumes that ship are 24
    "inter": ["pretrain.method.assigner.num_prototypes=6", "pretrain.method.views.num_slices=12"],
    "joint": ["pretrain.method.volume_assigner.num_prototypes=6", "pretrain.method.volume_views.num_slices=12"],
}


def line(kind: str, num_steps: int, threads: int, width: int) -> str:
    """One training, as a line of the table."""
    config, sources = CONFIGS[kind]
    encoder = "encoder" if kind == "intra" else "encoder.slice_encoder"
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Path(folder, "bench.yaml")
        pipeline.write_text(f"name: bench\nseed: 1\nstages:\n  pretrain: {{config: volume/{config}.yaml}}\n")
        overrides = [f"pretrain.{source}={{name: sample}}" for source in sources] + FEWER.get(kind, [])
        overrides += ["pretrain.train.epochs=1", f"pretrain.train.steps_per_epoch={num_steps}"]
        overrides.append(f"pretrain.method.{encoder}.width={width}")
        command = [sys.executable, "-m", "medgraph", "run", str(pipeline), *overrides, "--device", "cpu"]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "PYTHONPATH": os.getcwd(),
        }
        run = subprocess.run(
            [*command, "--out", str(Path(folder, "run"))], capture_output=True, text=True, env=environment
        )
        if run.returncode:
            raise SystemExit(f"{kind} failed:\n{run.stderr}")
        found = json.loads(Path(folder, "run", "pretrain", "cost.json").read_text())
    expected, peak = (found[name] / 2**30 for name in ("forecast_bytes", "peak_bytes"))
    speed = found.get("images_per_second", math.nan)  # in `masked` the images pass before the first step
    return (
        f"{kind:7} | {speed:8.0f} | {found['outside_encoder']:7.1%} | {found['waiting']:7.1%} "
        f"| {expected:12.2f} | {peak:9.2f} | {peak / expected - 1:+6.1%}"
    )


def main() -> None:
    """One line per kind of training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of each")
    parser.add_argument("--only", choices=CONFIGS, help="one kind")
    parser.add_argument("--threads", type=int, default=1, help="of the encoder; a core that is left makes the views")
    parser.add_argument("--width", type=int, default=16, help="of the slice encoder")
    options = parser.parse_args()
    print(
        f"{'stage':7} | {'images/s':>8} | {'outside':>7} | {'waiting':>7} "
        f"| {'expected GiB':>12} | {'peak GiB':>9} | off"
    )
    for kind in [options.only] if options.only else CONFIGS:
        print(line(kind, options.steps, options.threads, options.width), flush=True)


if __name__ == "__main__":
    main()
