import math

import pytest
import torch
from torch import nn

from medgraph.method import Step
from medgraph.volume.monitor import SourceWatch, cluster_metrics, order_sensitivity
from medgraph.volume.slice_attention import Identity, MultiScale
from medgraph.volume.slice_transformer import SliceTransformer


def test_clusters_that_repeat_the_sources_are_seen():
    watch = SourceWatch(6)
    watch.observe(torch.tensor([0, 1]), torch.tensor([4, 4]), torch.tensor([0, 0]))
    assert watch.agreement() == 0  # one source so far
    watch.observe(torch.tensor([3, 5]), torch.tensor([2, 2]), torch.tensor([1, 1]))
    assert watch.agreement().item() == pytest.approx(1)
    watch.observe(torch.tensor([1, 5]), torch.tensor([2, 4]), torch.tensor([0, 1]))
    assert watch.agreement().item() == pytest.approx(0, abs=1e-6)
    watch.observe(torch.tensor([1, 5]), torch.tensor([-100, -100]), torch.tensor([0, 1]))
    assert watch.agreement().item() == pytest.approx(1)  # unknown clusters do not count


def test_collapse_shows_in_three_numbers(rng):
    spread = torch.nn.functional.normalize(torch.randn(32, 16, generator=rng), dim=1)
    constant = spread[:1].expand(32, 16)
    prototypes = torch.nn.functional.normalize(torch.randn(8, 16, generator=rng), dim=1)
    loss = torch.tensor(math.log(8))
    good, bad = (cluster_metrics(loss, z, z @ prototypes.T, Step(0, 0, 0)) for z in (spread, constant))
    assert good["loss_minus_ln_k"].abs() < 1e-6
    assert good["effective_rank"] > 8
    assert bad["effective_rank"] < 1.01
    assert (good["used_prototypes"] > 0.8, bad["used_prototypes"].item()) == (True, 1 / 8)
    assert cluster_metrics(loss, spread, spread @ prototypes.T, Step(0, 0, 3)) == {}


@pytest.mark.parametrize(("attention", "low", "high"), [(MultiScale(), 0.005, 1), (Identity(), -1e-6, 1e-6)], ids=repr)
def test_blindness_for_the_order_of_slices_is_seen(attention, low, high, rng):
    transformer = SliceTransformer(16, attention, dropout=0.5).train()
    tokens = torch.randn(4, 9, 16, generator=rng)
    valid = torch.arange(9) < torch.tensor([9, 9, 4, 7])[:, None]
    value = order_sensitivity(transformer, tokens, valid, Step(0, 0, 20))["order_sensitivity"].item()
    assert low < value < high
    assert transformer.training
    assert order_sensitivity(transformer, tokens, valid, Step(0, 0, 21)) == {}


def test_padding_stays_last_when_slices_are_shuffled(rng):
    """Padded tokens would move the vector even where the order does not matter."""
    tokens = torch.randn(4, 6, 8, generator=rng)
    tokens[:, 3:] = 1e4
    valid = (torch.arange(6) < 3).expand(4, 6)
    transformer = SliceTransformer(8, Identity())
    assert order_sensitivity(transformer, tokens, valid, Step(0, 0, 0))["order_sensitivity"].abs() < 1e-6


class Ramp(nn.Module):
    """Weighs slices by their number, and adds what all volumes share."""

    def __init__(self, shared: float):
        super().__init__()
        self.shared = shared

    def forward(self, tokens, valid):
        return tokens * torch.arange(tokens.shape[1])[:, None] + self.shared


def test_what_all_volumes_share_does_not_hide_the_order(rng):
    tokens, valid = torch.randn(6, 9, 16, generator=rng, dtype=torch.float64), torch.ones(6, 9, dtype=torch.bool)
    plain, shared = (
        order_sensitivity(Ramp(value), tokens, valid, Step(0, 0, 0))["order_sensitivity"] for value in (0.0, 1e3)
    )
    assert 0.1 < plain < 1
    assert torch.allclose(plain, shared, rtol=1e-2)


def test_the_measure_is_the_distance_of_two_volumes_whatever_their_number(rng):
    found = []
    for count in (2, 200):
        volumes, valid = torch.randn(count, 9, 16, generator=rng), torch.ones(2 * count, 9, dtype=torch.bool)
        tokens = torch.cat([volumes, volumes + 1e-3 * torch.randn(volumes.shape, generator=rng)])
        steps = [Step(seed, 0, 0) for seed in range(40 if count == 2 else 1)]
        moved = [order_sensitivity(Ramp(0.0), tokens, valid, step)["order_sensitivity"] for step in steps]
        found.append(torch.stack(moved).mean().item())
    assert found[0] == pytest.approx(found[1], rel=0.5)
    alone = tokens[:: len(volumes)]
    assert order_sensitivity(Ramp(0.0), alone, valid[:2], Step(0, 0, 0)) == {}
