"""Features averaged over the targets that are most alike."""

import pytest
import torch
from torch.nn import functional as F

from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.hetero import smoothed
from medgraph.hetero.smoothed import Smoothed, averaged, nearest


def drawn(rows, seed=0):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of_nearest(features, k, *how):
    return averaged(features, nearest(features, k), *how)


def test_each_row_is_the_mean_of_the_rows_of_highest_cosine():
    features = drawn(30)
    features *= torch.linspace(0.1, 10, 30, dtype=torch.float64)[:, None]  # cosine sees no length, the mean does
    cosines = F.cosine_similarity(features[:, None], features[None], dim=2)
    for k in (2, 7):
        expected = torch.stack([features[row.argsort(descending=True)[:k]].mean(0) for row in cosines])
        torch.testing.assert_close(mean_of_nearest(features, k), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(mean_of_nearest(features, 99), features.mean(0).expand(30, 5))


def test_rounds_average_over_the_same_neighbors_and_symmetric_ones_both_ways():
    features = drawn(25)
    cosines = F.cosine_similarity(features[:, None], features[None], dim=2)
    listed = torch.zeros(25, 25, dtype=torch.float64)
    for row, others in enumerate(cosines.argsort(dim=1, descending=True)[:, :4]):
        listed[row, others] = 1
    assert not torch.equal(listed, listed.T)
    for symmetric, graph in ((False, listed), (True, listed + listed.T)):
        average = graph / graph.sum(1, keepdim=True)
        for rounds in (1, 3):
            found = mean_of_nearest(features, 4, rounds, symmetric)
            torch.testing.assert_close(found, average.matrix_power(rounds) @ features, atol=1e-12, rtol=0)


def test_blocks_do_not_change_it(monkeypatch):
    features = drawn(23)
    whole = mean_of_nearest(features, 4)
    monkeypatch.setattr(smoothed, "_ENTRIES", 60)  # two rows at once
    torch.testing.assert_close(mean_of_nearest(features, 4), whole, atol=0, rtol=0)


@pytest.mark.parametrize(("rounds", "symmetric"), [(1, False), (5, False), (1, True), (5, True)])
def test_a_row_without_direction_stays_and_is_nobody_s_neighbor(rounds, symmetric):
    features = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])  # a cosine of 0 is above that of the opposite, -1
    assert mean_of_nearest(features, 2, rounds, symmetric).tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_a_row_is_its_own_neighbor_before_its_equals():
    lengths = [1.0, 2.0, 4.0, 8.0]
    found = mean_of_nearest(torch.tensor([[length, 0.0] for length in lengths]), 2)
    for length, mean in zip(lengths, found[:, 0].tolist(), strict=True):
        assert 2 * mean - length in set(lengths) - {length}


def test_rows_of_one_class_move_together():
    centers = torch.eye(3, dtype=torch.float64).repeat_interleave(40, dim=0)
    features = centers + 0.2 * torch.randn(120, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = (features - centers).square().sum(1).mean()
    after = (mean_of_nearest(features, 20) - centers).square().sum(1).mean()
    assert after < before / 2


def test_what_has_no_neighbors_is_refused():
    image = config.build(
        config.with_defaults({"name": "conv"}, "encoders"), "encoders", spec=ImageSpec(2, 1, (8, 8), 3)
    )
    with pytest.raises(ValueError, match="encoder: expected one that embeds a whole graph, got ConvEncoder"):
        Smoothed(image)
    data = config.build(config.load("smoke-meow").stages["pretrain"].data, "data", seed=0)
    whole = config.build(config.with_defaults({"name": "metapath"}, "encoders"), "encoders", spec=data.spec)
    with pytest.raises(ValueError, match="num_neighbors: expected 2 or more, got 1"):
        Smoothed(whole, num_neighbors=1)
    with pytest.raises(ValueError, match="rounds: expected 1 or more, got 0"):
        Smoothed(whole, rounds=0)
