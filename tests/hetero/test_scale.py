"""Nothing grows faster than the graph: the largest allocation at 200,000 targets; the large pipeline on few."""

import json
import math
import tracemalloc

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medgraph import config
from medgraph.data.synthetic_graph import PlantedGraph
from medgraph.hetero.batches import MetapathBatches
from medgraph.hetero.sampled_adameow import SampledAdaMEOW
from medgraph.hetero.sampled_encoder import SampledMetapathEncoder
from medgraph.hetero.sampled_meow import SampledMEOW
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.given_weight_info_nce import GivenWeightInfoNCE
from medgraph.method import Step
from medgraph.runner.runner import run

DIM, KEPT, WORDS = 8, 10, 4


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                stored = leaf._nnz() if leaf.layout == torch.sparse_csr else math.prod(leaf.shape)
                self.elements = max(self.elements, stored)
        return result


def graph(num_targets):
    return PlantedGraph(num_targets, nodes_per_type=num_targets // 5, degree=2, num_words=WORDS, vocabulary=30)


def test_the_largest_tensor_is_seen():
    with Largest() as seen:
        (torch.ones(30, 1) @ torch.ones(1, 40)).sum()
    assert seen.elements == 1200


@pytest.mark.slow
def test_no_tensor_has_targets_times_targets_or_targets_times_nodes():
    num_targets = 200_000  # and 40,000 nodes of each other type
    tracemalloc.start()
    try:
        with Largest() as seen:
            data = MetapathBatches(graph(num_targets), top_k=(KEPT,), fan_out=(4, 3), context_fan_out=2)
            encoder = SampledMetapathEncoder(data.spec, dim=DIM)
            weighted, adaptive = GivenWeightInfoNCE(0.5), AdaptiveInfoNCE(DIM, 4, 0.5, pair_input="sum")
            settings = {"embedding_dim": DIM, "queue_size": 1024}
            methods = (
                SampledMEOW(data.spec, encoder, weighted, num_clusters=(5, 15), kmeans_iterations=1, **settings),
                SampledAdaMEOW(data.spec, encoder, adaptive, **settings),
            )
            batch = data.train().__getitems__(range(0, num_targets, 200))
            for method in methods:
                method.on_epoch_start(Step(0, 0, 0), iter([batch]))
                for number in range(2):
                    method(batch, Step(0, 0, number))["loss"].backward()
            features = encoder(data.views)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert features.shape == (num_targets, DIM)
    assert seen.elements <= (KEPT + 1) * num_targets  # the neighbours kept; N x N_u would be 8 billion
    assert peak <= 1500 * num_targets  # bytes of numpy arrays at once; N x N_u bytes would be 8 GB


@pytest.mark.slow
def test_the_pipeline_of_a_million_targets_runs_on_few(tmp_path):
    small = ["pretrain.data.source.num_targets=3000", "pretrain.train.batch_size=512"]
    out = run(config.load("meow-million", small), out=tmp_path / "run", device="cpu")
    steps = [json.loads(line) for line in (out / "pretrain" / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 5
    assert all(step["nodes_per_second"] > 0 for step in steps[1:])
    embedding, probe = json.loads((out / "pretrain" / "scores.json").read_text())["rows"]
    assert (embedding["case"], embedding["label"]) == ("3000 targets", "embedding")
    assert embedding["nodes_per_second"] == pytest.approx(3000 / embedding["seconds"])
    assert probe["micro_f1"] > 80  # a third by chance
