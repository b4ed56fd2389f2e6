"""Time and memory of `pair_lse` on self-contrast, forward and backward, one thread: whole matrix against tiles.

Run: python tests/bench/bench_losses.py [largest number of embeddings]
"""

import os
import subprocess
import sys
from statistics import median

DIM, REPEATS = 128, 3


def measure(what: str, num: int) -> None:
    """Print CPU seconds (median) and growth of the peak memory in MiB; runs in its own process."""
    import resource
    import time

    import torch
    from torch.nn import functional as F

    from medgraph.losses.pairs import pair_lse
    from medgraph.losses.pairs.terms import ExcludeSameId

    torch.set_num_threads(1)

    def step(size: int) -> float:
        z = F.normalize(torch.randn(size, DIM), dim=1).requires_grad_()
        terms = (ExcludeSameId(torch.arange(size)),)
        start = time.process_time()
        if what == "matmuls":  # tile by tile, so that their time is not that of the memory
            out = torch.empty(512, 512)
            with torch.no_grad():
                for i in range(0, size, 512):
                    for j in range(0, size, 512):
                        torch.mm(z[i : i + 512], z[j : j + 512].T, out=out[: min(512, size - i), : min(512, size - j)])
                        out[: min(512, size - i), : min(512, size - j)] @ z[j : j + 512]
        else:
            pair_lse(z, scale=10.0, terms=terms, backend=what).mean().backward()
        return time.process_time() - start

    step(64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = median(step(num) for _ in range(REPEATS))
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    """One line per size."""
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 8192
    print("     N | dense CPU-s    MiB | tiled CPU-s    MiB | tiled/dense | tiled/two matmuls")
    num = 1024
    while num <= largest:
        found = {}
        for what in ("dense", "tiled", "matmuls"):
            command = [sys.executable, __file__, "--measure", what, str(num)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found[what] = tuple(map(float, run.stdout.split()))
        (dense, dense_memory), (tiled, tiled_memory), (matmuls, _) = found["dense"], found["tiled"], found["matmuls"]
        print(
            f"{num:6d} | {dense:11.3f} {dense_memory:6.0f} | {tiled:11.3f} {tiled_memory:6.0f} "
            f"| {tiled / dense:11.2f} | {tiled / matmuls:17.2f}",
            flush=True,
        )
        num *= 2


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
