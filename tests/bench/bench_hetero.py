"""CPU seconds per epoch and peak memory of MEOW and AdaMEOW on the whole graph, one thread.

Run:
    python tests/bench/bench_hetero.py                                   ACM, which ships with the package
    python tests/bench/bench_hetero.py --dblp data/graphs/dblp           also DBLP, a folder in HeCo's layout
    python tests/bench/bench_hetero.py --planted 4000 16000              also planted graphs of so many targets

Each line is a process of its own: seconds to set up (reading, meta-paths, operators), the median CPU seconds of five
epochs after the first, and the peak resident memory of the process in GiB.
"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

SETTINGS = {  # top-k, edge masks, clusters, temperature: the configs of the same names
    ("meow", "acm"): ((110, 700), (0.3, 0.2), (100, 300), 0.4),
    ("adameow", "acm"): ((690, 690), (0.2,), (), 1.0),
    ("meow", "dblp"): ((25, 200, 40), (0.2, 0.5, 0.6), (200, 700), 0.9),
    ("adameow", "dblp"): ((25, 200, 40), (0.3,), (), 0.9),
}


def method_of(name: str, graph: str, root: str):
    """The views, and the method on them."""
    import torch

    from medgraph.data.heco_folder import HeCoGraph
    from medgraph.data.sample_graph import SampleGraph
    from medgraph.data.synthetic_graph import PlantedGraph
    from medgraph.hetero.adameow import AdaMEOW
    from medgraph.hetero.encoder import MetapathEncoder
    from medgraph.hetero.meow import MEOW
    from medgraph.hetero.views import MetapathViews
    from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
    from medgraph.losses.weighted_info_nce import WeightedInfoNCE

    top_k, masks, clusters, temperature = SETTINGS.get((name, graph), ((50,), (0.2,), (100, 300), 0.5))
    source = {"acm": SampleGraph, "dblp": lambda: HeCoGraph(root)}.get(graph, lambda: PlantedGraph(int(graph)))()
    paths = {"acm": ("pap", "psp"), "dblp": ("apa", "apcpa", "aptpa")}.get(graph)
    data = MetapathViews(source, metapaths=paths, top_k=top_k, edge_masks=masks)
    torch.manual_seed(0)
    encoder = MetapathEncoder(data.spec)
    if name == "meow":
        return data.views, MEOW(data.spec, encoder, WeightedInfoNCE(temperature), num_clusters=clusters)
    loss = AdaptiveInfoNCE(64, hidden_dim=16, temperature=temperature, pair_input="sum")
    return data.views, AdaMEOW(data.spec, encoder, loss)


def measure(name: str, graph: str, root: str) -> None:
    """One line: method, graph, set-up seconds, CPU seconds per epoch, peak GiB."""
    import resource
    import warnings

    import torch

    from medgraph.method import Step

    warnings.simplefilter("ignore")  # what a graph's reader notes
    torch.set_num_threads(1)
    start = time.process_time()
    views, method = method_of(name, graph, root)
    setup = time.process_time() - start
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    seconds = []
    for epoch in range(1, 7):
        start = time.process_time()
        optimizer.zero_grad()
        method.training_step(views, Step(0, epoch, epoch))["loss"].backward()
        optimizer.step()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:8} {graph:>8} {len(views):9,} {setup:8.1f} {median(seconds[1:]):10.2f} {peak:9.2f}", flush=True)


def main() -> None:
    """Read the command line; run every line of the table in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dblp", default="", help="folder of DBLP in HeCo's layout")
    parser.add_argument("--planted", nargs="*", default=[], help="numbers of targets of planted graphs")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.one, arguments.dblp)
        return
    print(f"{'method':8} {'graph':>8} {'targets':>9} {'set-up s':>8} {'s / epoch':>10} {'peak GiB':>9}", flush=True)
    graphs = ["acm", *(["dblp"] if arguments.dblp else []), *arguments.planted]
    for graph in graphs:
        for name in ("meow", "adameow"):
            command = [sys.executable, __file__, "--one", name, graph, "--dblp", arguments.dblp]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
