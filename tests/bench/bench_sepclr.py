"""Cost of a SepCLR step on one thread: examples per second, share of the loss terms, memory of the terms by batch.

Run:
    python tests/bench/bench_sepclr.py                         batch 512, then the memory of 2,048 to 8,192
    python tests/bench/bench_sepclr.py --batch 256 --steps 5

2D is 32 x 32 x 3 and 3D 15 x 20 x 13, encoders as in sepclr-digits and sepclr-lesion. A step is views, forward and
backward. Times are CPU seconds, the median of the steps. "terms" is the loss with its gradient to the codes of both
views, and a tenth of the monitors, which come every tenth step; its largest parts are timed alone too. Memory is the
growth of the peak over terms and gradient, in a process of its own; Linux only.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SIZES = {"2D": (2, 3, (32, 32), 16), "3D": (3, 1, (15, 20, 13), 8)}
MEMORY_AT = (2048, 4096, 8192)


def method(kind: str):
    """SepCLR with the encoders of sepclr-digits, or of sepclr-lesion."""
    from medgraph.data.spec import ImageSpec
    from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
    from medgraph.nn.encoders import ResNetEncoder
    from medgraph.sepclr.encoder import CommonSalientEncoder
    from medgraph.sepclr.sepclr import SepCLR
    from medgraph.transforms.image_views import ImageViews
    from medgraph.transforms.volume_views import VolumeViews

    dims, channels, size, width = SIZES[kind]
    spec = ImageSpec(dims, channels, size, 1)
    encoders = [ResNetEncoder(spec, 18, width) for _ in range(2)]
    views = ImageViews(area=(0.4, 1.0)) if dims == 2 else VolumeViews(rotation=5.0, shift=0.05)
    return SepCLR(spec, CommonSalientEncoder(spec, *encoders, 32, 32 if dims == 2 else 16), views, KernelJointEntropy())


def codes(num: int, common_dim: int = 32, salient_dim: int = 32):
    """Codes of two views, half of them targets, that take a gradient."""
    import torch

    from medgraph.sepclr.batch import Codes

    common, salient = (torch.randn(2 * num, dim, requires_grad=True) for dim in (common_dim, salient_dim))
    return Codes.of_views(common, salient, torch.arange(num) % 2 == 1)


def cpu_time(call, steps: int) -> float:
    """Median CPU seconds of a call, after one that warms up."""
    call()
    found = []
    for _ in range(steps):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return median(found)


def times(kind: str, num: int, steps: int) -> dict[str, float]:
    """CPU seconds of a step, of its views, and of its terms."""
    import torch

    from medgraph.data.batches import GroupedImageBatch
    from medgraph.method import Step
    from medgraph.sepclr import monitors

    model, (_, channels, size, _) = method(kind), SIZES[kind]
    is_target = torch.arange(num) % 2 == 1
    batch = GroupedImageBatch(torch.arange(num), torch.rand(num, channels, *size), is_target, torch.empty(num, 0))
    made = codes(num)
    is_target = made.is_target
    cut = made.clamped
    terms = {
        "common uniformity": lambda: sum(map(model.common_uniformity, made.common)),
        "salient uniformity": lambda: sum(model.salient_uniformity(s, is_target) for s in made.salient),
        "joint entropy": lambda: sum(
            model.independence_loss(c, s, is_target) for c, s in zip(made.common, cut, strict=True)
        ),
    }
    found = {
        "step": cpu_time(lambda: model(batch, Step(0, 0, 1))["loss"].backward(), steps),
        "views": cpu_time(
            lambda: model.views.apply(batch.images, model.views.draw(0, 0, batch.ids, (channels, *size))), steps
        ),
        "terms": cpu_time(lambda: model.loss(made, step=1)["loss"].backward(retain_graph=True), steps),
    }
    parts = {name: cpu_time(lambda c=call: c().backward(retain_graph=True), steps) for name, call in terms.items()}
    parts["monitors of a tenth step"] = cpu_time(lambda: monitors.separation(made), steps)
    rare = parts["monitors of a tenth step"] / 10
    return found | {"step": found["step"] + rare, "terms": found["terms"] + rare} | parts


def memory(num: int) -> None:
    """Print the growth of the peak memory in MiB over the terms and their gradient; runs in its own process."""
    import torch

    torch.set_num_threads(1)
    model = method("2D")
    model.loss(codes(2048))["loss"].backward()
    made = codes(num)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()
    model.loss(made)["loss"].backward()
    print(peak() - before)


def peak() -> float:
    """Largest resident memory of this process since it was last forgotten, in MiB."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        memory(given.memory)
        return
    import torch

    torch.set_num_threads(1)
    print(f"| batch {given.batch} | step, s | examples/s | views, s | terms, s | share of the terms | of which |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for kind in SIZES:
        found = times(kind, given.batch, given.steps)
        step, views, terms = (found.pop(name) for name in ("step", "views", "terms"))
        parts = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in found.items())
        cells = f"{step:.2f} | {given.batch / step:.0f} | {views:.2f} | {terms:.3f} | {terms / step:.1%}"
        print(f"| {kind} | {cells} | {parts} |", flush=True)
    print("\n| batch | peak growth, MiB | one matrix of all pairs, MiB |\n|---:|---:|---:|")
    for num in MEMORY_AT:
        command = [sys.executable, __file__, "--memory", str(num)]
        grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {num} | {grown:.0f} | {num * num * 4 / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    main()
