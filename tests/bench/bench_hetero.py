"""Time and memory of MEOW and AdaMEOW, one thread: an epoch on the whole graph, and growth up to a million targets.

Run:
    python tests/bench/bench_hetero.py                        ACM, DBLP, planted graphs of 4,000 to 1,000,000 targets
    python tests/bench/bench_hetero.py --no-million           without the last size, which takes several minutes
    python tests/bench/bench_hetero.py --n 4000 32000         other sizes
    python tests/bench/bench_hetero.py --n                    the data sets only
    python tests/bench/bench_hetero.py --only meow --steps 3  one method, fewer steps

ACM ships with the package; DBLP is HeCo's folder: graphs/dblp in the folder that MEDGRAPH_DATA names, else left out.
Planted graphs have ten edges a target. Each line is a process of its own. CPU seconds: to set up (read or draw the
graph, build its views), of an epoch (the mean of --steps after a first one; in batches that many steps, scaled to the
whole epoch, and the clustering before them), and to embed all targets. Peak memory in GiB, libraries included (about
0.4). Last come the limits, and how time and memory in batches grow from one size to the next.
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

WHOLE_UP_TO = 16_000  # targets of a planted graph that is also trained on as a whole
METHODS = ("meow", "adameow")
BATCH, KEPT = 4096, 50
SIZES = (4_000, 16_000, 64_000, 256_000, 1_000_000)
# CPU seconds of an epoch on the whole graph, and GiB, that must hold on an idle core.
LIMITS = {("acm", "meow"): (1.1, 0.9), ("acm", "adameow"): (1.5, 1.0), ("dblp", "meow"): (3.0, 1.2)}


class Figures(NamedTuple):
    """One measurement: number of targets, CPU seconds, GiB."""

    targets: float
    built: float
    epoch: float
    embedding: float
    peak: float


def shipped(pipeline: str):
    """Data and method of the first stage of a pipeline, as it ships."""
    from medgraph import config

    root = Path(os.environ.get("MEDGRAPH_DATA", "data")) / "graphs"
    name = pipeline.partition("-")[2]
    place = [] if name == "acm" else [f"pretrain.data.source.root={root / name}"]
    stage = config.load(pipeline, place).stages["pretrain"]
    data = config.build(stage.data, "data", seed=0)
    return data, config.build(stage.method, "methods", spec=data.spec, seed=0)


def planted(method: str, num_targets: int, is_whole: bool):
    """Data and method on a planted graph with ten edges a target, with the settings of meow-million."""
    from medgraph import config

    data_node = {"name": "metapath_views" if is_whole else "metapath_batches", "top_k": [KEPT], "ties": "random"}
    data_node |= {"source": {"name": "planted_graph", "num_targets": num_targets}}
    data_node |= {} if is_whole else {"fan_out": [6, 4], "context_fan_out": 5}
    encoder = {"name": "metapath", "norm": "row"} if is_whole else {"name": "metapath_sampled"}
    node = {"name": method if is_whole else f"{method}_sampled", "encoder": {**encoder, "dropout": 0.0}}
    if method == "meow":
        loss = "weighted_info_nce" if is_whole else "given_weight_info_nce"
        node |= {"loss": {"name": loss, "temperature": 0.5}, "num_clusters": [100, 300], "kmeans_iterations": 5}
    else:
        node |= {"loss": {"name": "adaptive_info_nce", "dim": 64, "hidden_dim": 16, "pair_input": "sum"}}
    data = config.build(filled(data_node, "data"), "data", seed=0)
    return data, config.build(filled(node, "methods"), "methods", spec=data.spec, seed=0)


def filled(node: dict, kind: str) -> dict:
    """A part of a config with the defaults of every argument written out, as a loaded pipeline has it."""
    from medgraph import catalogue
    from medgraph.config import signature

    kinds = {"source": "sources", "encoder": "encoders", "loss": "losses"}
    given = {key: filled(value, kinds[key]) if isinstance(value, dict) else value for key, value in node.items()}
    settable = signature.read(catalogue.path(kind, node["name"])).settable
    return {**{key: part.default for key, part in settable.items() if not part.required}, **given}


def measure(what: str, method: str, num_steps: int) -> None:
    """Print set-up, epoch and embedding in CPU seconds, and the peak memory in GiB; runs in its own process."""
    import resource
    import time

    import torch

    from medgraph.method import Step

    torch.set_num_threads(1)
    torch.manual_seed(0)
    start = time.process_time()
    kind, _, size = what.partition(" ")
    is_whole = kind != "batches"
    data, model = planted(method, int(size), is_whole) if size else shipped(f"{method}-{what}")
    dataset = data.train()
    views = dataset.views  # built here
    if not is_whole:
        views.masks(0)
    built = time.process_time()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    num_targets = len(views)
    batch_size = min(BATCH, num_targets)
    order = torch.randperm(num_targets)
    clustering = -time.process_time()
    if not is_whole:
        model.on_epoch_start(Step(0, 0, 0), iter([dataset.__getitems__(range(batch_size))]))
    clustering += time.process_time()
    for number in range(num_steps + 1):
        if number == 1:
            first = time.process_time()
        ids = [0] if is_whole else order.roll(-number * batch_size)[:batch_size]
        optimizer.zero_grad()
        model(dataset.__getitems__(ids), Step(0, number if is_whole else 0, number))["loss"].backward()
        optimizer.step()
    step = (time.process_time() - first) / num_steps
    epoch = step if is_whole else clustering + step * num_targets / batch_size
    model.eval()
    first = time.process_time()
    with torch.no_grad():
        model.encoder(views)
    embedding = time.process_time() - first
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(num_targets, built - start, epoch, embedding, peak, sep=";")


def run(what: str, method: str, num_steps: int) -> Figures:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, method, str(num_steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{method} on {what} failed:\n{done.stderr}")
    return Figures(*(float(x) for x in done.stdout.splitlines()[-1].split(";")))


def line(what: str, method: str, found: Figures) -> str:
    """A measurement as a line of the table."""
    return (
        f"{what.split()[0]:8} | {method:8} | {found.targets:9,.0f} | {found.built:9.2f} | {found.epoch:9.2f} "
        f"| {found.targets / max(found.epoch, 1e-9):11,.0f} | {found.embedding:9.2f} "
        f"| {found.targets / max(found.embedding, 1e-9):11,.0f} | {found.peak:5.2f}"
    )


def limit_lines(table: dict[tuple[str, str], Figures]) -> list[str]:
    """What the data sets may cost, and whether they do not cost more."""
    lines = []
    for (what, method), (seconds, memory) in LIMITS.items():
        if found := table.get((what, method)):
            is_held = found.epoch <= seconds and found.peak <= memory
            lines.append(f"limit {what} {method}: {seconds} s, {memory} GiB: {'held' if is_held else 'NOT held'}")
    return lines


def growth_lines(table: dict[tuple[str, str], Figures]) -> list[str]:
    """How often a larger graph in batches takes the time and the memory of a smaller one."""
    lines = []
    for method in METHODS:
        sizes = sorted(found for (what, name), found in table.items() if name == method and what.startswith("batches"))
        for small, large in itertools.pairwise(sizes):
            epoch, built, peak = large.epoch / small.epoch, large.built / small.built, large.peak / small.peak
            lines.append(
                f"growth {method}: targets x{large.targets / small.targets:.1f}, epoch x{epoch:.1f}, "
                f"set-up x{built:.1f}, memory x{peak:.2f}"
            )
    return lines


def main() -> None:
    """One line per data set and method, then one per size, kind of step and method; then limits and growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="*", default=SIZES, help="targets of planted graphs")
    parser.add_argument("--no-million", action="store_true", help="no planted graph above 500,000 targets")
    parser.add_argument("--steps", type=int, default=5, help="steps that are measured")
    parser.add_argument("--only", choices=METHODS, help="one method")
    parser.add_argument("--no-datasets", action="store_true", help="planted graphs only")
    options = parser.parse_args()
    places = [] if options.no_datasets else ["acm", "dblp"]
    if "dblp" in places and "MEDGRAPH_DATA" not in os.environ:
        print("dblp is left out: MEDGRAPH_DATA is not set")
        places.remove("dblp")
    for size in options.n:
        if options.no_million and size > 500_000:
            continue
        places += [f"whole {size}"] if size <= WHOLE_UP_TO else []
        places.append(f"batches {size}")
    print("one thread, float32; an epoch of `whole` is one step, of `batches` as many as it has")
    print(
        f"{'what':8} | {'method':8} | {'targets':>9} | {'set-up, s':>9} | {'epoch, s':>9} | {'nodes/CPU-s':>11} "
        f"| {'embed, s':>9} | {'nodes/CPU-s':>11} | {'GiB':>5}"
    )
    table = {}
    for what in places:
        for method in [options.only] if options.only else METHODS:
            table[what, method] = run(what, method, options.steps)
            print(line(what, method, table[what, method]), flush=True)
    print("\n".join(limit_lines(table) + growth_lines(table)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
