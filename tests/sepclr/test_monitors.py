"""Monitors: what codes that are separated, and codes that are not, look like to them."""

import pytest
import torch
from reference.sepclr_parts import batch, method
from sklearn.metrics import roc_auc_score

from medgraph.method import Step
from medgraph.sepclr import monitors
from medgraph.sepclr.batch import Codes

IS_TARGET = torch.arange(200) % 2 == 1


def codes(common, salient, is_target=IS_TARGET):
    return Codes.of_views(common.repeat(2, 1), salient.repeat(2, 1), is_target)


def test_separated_codes_and_leaking_ones(rng):
    common, salient = torch.randn(200, 4, generator=rng), torch.randn(200, 3, generator=rng)
    apart = monitors.separation(codes(common, torch.where(IS_TARGET[:, None], salient, 0.0)))
    assert abs(apart["common_group_auc"] - 0.5) < 0.15
    assert apart["salient_group_auc"] > 0.95  # around the point that the background lies on: no line tells them apart
    assert apart["dependence"] < 0.15
    leaking = torch.cat([common[:, :3], 4 * IS_TARGET[:, None].float()], dim=1)
    mixed = monitors.separation(codes(leaking, common[:, :3]))
    assert mixed["common_group_auc"] > 0.9
    assert mixed["dependence"] > apart["dependence"] + 0.3


def test_dependence_is_that_above_torn_pairs_whatever_the_size_of_the_batch(rng):
    is_target = torch.arange(64) % 2 == 1
    found = [
        monitors.separation(codes(*torch.randn(2, 64, 32, generator=rng), is_target))["dependence"] for _ in range(10)
    ]
    assert abs(sum(found) / 10) < 0.02  # the statistic itself would be 0.74
    common = torch.randn(64, 32, generator=rng)
    assert monitors.separation(codes(common, common, is_target))["dependence"] > 0.2


def test_the_area_is_that_of_rows_kept_aside(rng):
    features = torch.randn(60, 30, generator=rng)  # as many numbers as fitted rows: fitted ones would be told perfectly
    assert abs(monitors.group_auc(features, torch.arange(60) % 2 == 1) - 0.5) < 0.25
    line = torch.arange(20.0)[:, None]
    groups = (line[:, 0] > 6) ^ (torch.arange(20) % 7 == 0)
    aside = torch.cat([g.nonzero()[1::2, 0] for g in (groups, ~groups)])
    expected = roc_auc_score(groups[aside], line[aside, 0])
    assert monitors.group_auc(torch.cat([line, torch.zeros(20, 1)], dim=1), groups) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_equal_codes_tell_nothing(value):
    seen = monitors.separation(codes(torch.full((200, 4), value), torch.full((200, 3), value)))
    assert seen["common_group_auc"] == 0.5
    assert seen["salient_group_auc"] == 0.5
    assert seen["dependence"] == 0


@pytest.mark.parametrize(
    ("num_targets", "expected"), [(0, set()), (3, set()), (197, {"dependence"}), (200, {"dependence"})]
)
def test_too_small_a_group_is_not_judged(num_targets, expected, rng):
    made = codes(
        torch.randn(200, 4, generator=rng), torch.randn(200, 3, generator=rng), torch.arange(200) < num_targets
    )
    assert set(monitors.separation(made)) == expected
    assert set(monitors.norms(made)) == {
        *(["target_norm"] if num_targets else []), *(["background_norm"] if num_targets < 200 else [])
    }  # fmt: skip


def test_training_logs_them_every_tenth_step():
    model = method()
    looks = {"common_group_auc", "salient_group_auc", "dependence"}
    for number, expected in ((0, looks), (1, set()), (10, looks)):
        outputs = model(batch(), Step(1, 0, number))
        assert looks & set(outputs) == expected
        assert {"target_norm", "background_norm", "above_floor", "self_share"} <= set(outputs)
        assert not any(outputs[name].requires_grad for name in looks & set(outputs))
