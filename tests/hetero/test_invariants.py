"""Invariants of the method as a whole, by their numbers in the specification, where no file of its own holds them."""

import numpy as np
import pytest
import torch
from hetero.planted import PlantedSource, encoder_for, planted_graph
from torch.nn import functional as F

from medgraph.data.graphs import make_graph
from medgraph.hetero.adameow import AdaMEOW
from medgraph.hetero.meow import MEOW
from medgraph.hetero.views import MetapathViews
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.pairs.tiled import Block
from medgraph.losses.weighted_info_nce import WeightedInfoNCE
from medgraph.method import Step
from medgraph.transforms.metapaths import commuting_counts, top_k_neighbours


def lonely_graph(missing):
    """Paper 0 without authors, paper 1 without subject, or paper 2 without both."""
    rng = np.random.default_rng(0)
    authors = np.stack([np.repeat(np.arange(40), 2), rng.integers(0, 15, 80)])
    subjects = np.stack([np.arange(40), np.arange(40) % 5])
    edges = {
        ("paper", "to", "author"): authors[:, ~np.isin(authors[0], missing[0])],
        ("paper", "to", "subject"): subjects[:, ~np.isin(subjects[0], missing[1])],
    }
    counts = {"paper": 40, "author": 15, "subject": 5}
    features = {"paper": rng.random((40, 12)) * (rng.random((40, 12)) < 0.3)}
    return make_graph("paper", counts, edges, features, metapaths=["pap", "psp"])


@pytest.mark.parametrize("k", [1, 4, 90])
@pytest.mark.parametrize("name", ["pap", "psp"])
def test_1_pathsim_is_a_share_the_diagonal_is_whole_and_rows_are_short(name, k):
    graph = planted_graph()
    own = commuting_counts(graph, name).diagonal()
    kept = top_k_neighbours(graph, name, k, edge_value="pathsim")
    assert kept.data.min() > 0
    assert kept.data.max() <= 1
    assert np.diff(kept.indptr).max() <= k
    np.testing.assert_array_equal(kept.diagonal(), (own > 0).astype(np.float32))


def test_5_factored_weights_equal_a_network_on_every_pair_of_300_nodes(rng):
    queries, keys = (F.normalize(torch.randn(300, 64, generator=rng), dim=1) for _ in "qk")
    torch.manual_seed(0)
    loss = AdaptiveInfoNCE(64, 16, 0.5, pair_input="sum")
    scorer, own = loss._scorer(queries, keys)
    found = scorer.tile(Block(0, 300, 0, 300))
    expected = F.logsigmoid(loss.score(torch.tanh(loss.of_queries(queries[:, None] + keys[None])))).squeeze(2)
    assert (found.exp() - expected.exp()).abs().max() < 1e-6
    torch.testing.assert_close(own, expected.diagonal(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")
@pytest.mark.parametrize("isolated", ["keep", "self_loop"])
@pytest.mark.parametrize("missing", [([0], []), ([], [1]), ([2], [2])], ids=["one-path", "the-other", "both"])
def test_12_targets_without_path_instances_give_finite_features_losses_and_gradients(missing, isolated):
    data = MetapathViews(PlantedSource(lonely_graph(missing)), top_k=(8,), isolated=isolated)
    contrast = AdaptiveInfoNCE(16, 8, 0.5, pair_input="sum")
    methods = (
        MEOW(data.spec, encoder_for(data), WeightedInfoNCE(0.5), embedding_dim=16, num_clusters=(3, 6)),
        AdaMEOW(data.spec, encoder_for(data), contrast, embedding_dim=16),
    )
    for method in methods:
        loss = method(data.views, Step(0, 0, 0))["loss"]
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
        assert method.encoder.eval()(data.views).isfinite().all()
