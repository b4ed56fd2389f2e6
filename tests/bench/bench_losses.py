"""Time and memory of self-contrast, forward and backward, one thread: ours, two matrix products, other libraries.

Run:
    python tests/bench/bench_losses.py                          N = 1,024 to 8,192
    python tests/bench/bench_losses.py --n 65536                other sizes; the whole matrix only where it fits
    python tests/bench/bench_losses.py --peers /path/to/python  also lightly and pytorch-metric-learning, from there

Each cell is the median of three runs (one from N = 32,768 on) in a process of its own: CPU seconds, and growth of the
peak memory in MiB. "two matmuls" are the products that dense scores and their gradient need at least.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

DIM, TEMPERATURE = 128, 0.1
OURS = ("dense", "matmuls", "tiled")  # the first two are what all are compared with
PEERS = ("lightly NTXentLoss", "pml SupConLoss", "pml NTXentLoss")
MOST = {"dense": 16384, "lightly NTXentLoss": 16384, "pml SupConLoss": 8192, "pml NTXentLoss": 512}  # else: memory


def call(what: str, num: int):
    """A function without arguments that returns the loss of fresh embeddings, or None for plain products."""
    import torch
    from torch.nn import functional as F

    z = F.normalize(torch.randn(num, DIM), dim=1).requires_grad_()
    if what in ("dense", "tiled"):
        from medgraph.losses.pairs import pair_lse
        from medgraph.losses.pairs.terms import ExcludeSameId

        terms = (ExcludeSameId(torch.arange(num)),)
        return lambda: pair_lse(z, scale=1 / TEMPERATURE, terms=terms, backend=what).mean()
    if what == "matmuls":
        return lambda: products(z.detach())
    if what == "lightly NTXentLoss":
        from lightly.loss import NTXentLoss

        return lambda: NTXentLoss(TEMPERATURE)(z[: num // 2], z[num // 2 :])
    from pytorch_metric_learning import losses

    labels = torch.arange(num // 2).repeat(2)
    return lambda: getattr(losses, what.split()[1])(TEMPERATURE)(z, labels)


def products(z) -> None:
    """z z^T, and that times z, tile by tile, so that their time is not that of the memory."""
    import torch

    out = torch.empty(512, 512)
    for rows in z.split(512):
        for keys in z.split(512):
            scores = torch.mm(rows, keys.T, out=out[: len(rows), : len(keys)])
            scores @ keys


def measure(what: str, num: int) -> None:
    """Print CPU seconds, growth of the peak memory in MiB, and the library's version; runs in its own process."""
    import resource
    import time
    from importlib import metadata

    import torch

    torch.set_num_threads(1)

    def step(size: int) -> float:
        function = call(what, size)
        start = time.process_time()
        loss = function()
        if loss is not None:
            loss.backward()
        return time.process_time() - start

    step(64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median(step(num) for _ in range(3 if num < 32768 else 1))
    library = {"lightly": "lightly", "pml": "pytorch-metric-learning"}.get(what.split()[0], "torch")
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(seconds, memory, f"{library} {metadata.version(library)}", sep=";")


def cell(python: str, what: str, num: int) -> tuple[float, float, str] | None:
    """Seconds, MiB and version; None where it would not fit into memory."""
    if num > MOST.get(what, num):
        return None
    command = [python, __file__, "--measure", what, str(num)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode:
        raise SystemExit(f"{what} with {python} failed:\n{run.stderr}")
    seconds, memory, version = run.stdout.splitlines()[-1].split(";")
    return float(seconds), float(memory), version


def main() -> None:
    """One line per size and kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="numbers of embeddings")
    parser.add_argument("--peers", help="a Python that has lightly and pytorch-metric-learning")
    options = parser.parse_args()
    print(f"D = {DIM}, float32, temperature {TEMPERATURE}, one thread")
    print(f"{'N':>7} | {'what':18} | {'CPU-s':>9} | {'MiB':>7} | {'of dense':>8} | {'of two matmuls':>14} | version")
    for num in options.n:
        cells: dict[str, tuple[float, float, str] | None] = {}
        for what in (*OURS, *(PEERS if options.peers else ())):
            found = cells[what] = cell(options.peers if what in PEERS else sys.executable, what, num)
            if found is None:
                print(f"{num:7d} | {what:18} | {'too large':>9} | {'':7} | {'':8} | {'':14} |", flush=True)
                continue
            ratios = [f"{found[0] / base[0]:.2f}" if base else "" for base in (cells["dense"], cells.get("matmuls"))]
            print(
                f"{num:7d} | {what:18} | {found[0]:9.3f} | {found[1]:7.0f} | {ratios[0]:>8} | {ratios[1]:>14} "
                f"| {found[2]}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
