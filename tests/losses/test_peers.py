"""Equal to public libraries where they are installed: pip install lightly pytorch-metric-learning."""

import pytest
import torch

from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.losses import DCL, DCLW, NTXent, SupCon, SwappedPrediction


def library(name):
    """The module, or skip; also where it is there but cannot load what it needs."""
    return pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture
def views(rng):
    return torch.randn(2, 9, 4, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(("ours", "theirs"), [(NTXent, "NTXentLoss"), (DCL, "DCLLoss"), (DCLW, "DCLWLoss")])
@pytest.mark.filterwarnings("ignore")
def test_equals_lightly(ours, theirs, temperature, views):
    expected = getattr(library("lightly.loss"), theirs)(temperature=temperature)(*views)
    torch.testing.assert_close(ours(temperature)(*views), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.5, 1)])
@pytest.mark.filterwarnings("ignore")
def test_sinkhorn_equals_lightly(epsilon, iterations, rng):
    peer = library("lightly.loss.swav_loss").sinkhorn
    scores = torch.rand(8, 5, generator=rng, dtype=torch.float64)
    expected = peer(scores, iterations=iterations, epsilon=epsilon)
    torch.testing.assert_close(sinkhorn(scores, epsilon, iterations), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_small", [0, 2])
@pytest.mark.filterwarnings("ignore")
def test_swapped_prediction_equals_lightly(num_small, rng):
    peer = library("lightly.loss").SwaVLoss(temperature=0.1, sinkhorn_iterations=3, sinkhorn_epsilon=0.05)
    scores = [0.3 * torch.randn(8, 5, generator=rng) for _ in range(2 + num_small)]
    codes = [sinkhorn(s, epsilon=0.05, iterations=3) for s in scores[:2]]
    expected = peer(scores[:2], scores[2:]).squeeze()
    torch.testing.assert_close(SwappedPrediction(0.1)(scores, codes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.filterwarnings("ignore")
def test_supcon_equals_pytorch_metric_learning(temperature, views):
    peer = library("pytorch_metric_learning.losses").SupConLoss(temperature=temperature)
    x, labels = views.flatten(0, 1), torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0] * 2)
    torch.testing.assert_close(SupCon(temperature)(x, labels), peer(x, labels), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.filterwarnings("ignore")
def test_pairs_equal_pytorch_metric_learning(temperature, views):
    peer = library("pytorch_metric_learning.losses").NTXentLoss(temperature=temperature)
    x, labels = views.flatten(0, 1), torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0] * 2)
    ours = SupCon(temperature, mode="per_positive", reduction="pair")
    torch.testing.assert_close(ours(x, labels), peer(x, labels), rtol=1e-7, atol=1e-7)
    pairs = torch.arange(9).repeat(2)
    torch.testing.assert_close(NTXent(temperature)(*views), peer(x, pairs), rtol=1e-7, atol=1e-7)
