"""Losses over several processes: every loss that takes `dist` equals one process; `dist` alone changes nothing."""

import pytest
import torch
from reference import distributed_losses
from spawned import run_in_processes

from medgraph import catalogue
from medgraph.config import signature
from medgraph.losses import everyone


def _takes_dist(name):
    return "dist" in signature.read(catalogue.path("losses", name)).parameters


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 4])
def test_every_loss_equals_one_process(world, tmp_path):
    run_in_processes("reference.distributed_losses", "check_every_loss", world, tmp_path)


def test_every_loss_that_takes_dist_is_checked():
    assert {name for name in catalogue.TABLES["losses"] if _takes_dist(name)} == {
        name for name, _, _ in distributed_losses.CASES
    }


@pytest.mark.parametrize("case", distributed_losses.CASES, ids=lambda case: f"{case[0]}-{case[1]}")
@pytest.mark.filterwarnings("ignore")
def test_alone_dist_changes_nothing(case):
    rows, extra = distributed_losses.draw(2)
    value, gradients = distributed_losses.values(*case, rows, extra, None)
    for dist in ("gather",) if case[0] in distributed_losses.WITHOUT_RING else ("gather", "ring"):
        found, found_gradients = distributed_losses.values(*case, rows, extra, dist)
        torch.testing.assert_close(found, value, rtol=0, atol=1e-12)
        torch.testing.assert_close(found_gradients, gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(distributed_losses.WITHOUT_RING))
def test_what_cannot_be_passed_around_a_ring_says_so(name):
    settings = next(settings for case, settings, _ in distributed_losses.CASES if case == name)
    with pytest.raises(ValueError, match="dist: expected one of None, 'gather', got 'ring'"):
        catalogue.find("losses", name)(**settings, dist="ring")


@pytest.mark.parametrize("dist", [None, "gather"])
def test_alone_everyone_is_this_process(dist, rng):
    x = torch.randn(3, 2, generator=rng)
    assert everyone.world(dist) == 1
    assert everyone.count(x, dist) == 3
    assert everyone.ids(x, dist).tolist() == [0, 1, 2]
    assert everyone.rows(x, dist) is x
    assert everyone.total(x, dist) is x
    totals, sizes = everyone.by_label(x, torch.tensor([7, 7, 10**12]), dist)
    torch.testing.assert_close(totals, torch.stack([x[0] + x[1], x[0] + x[1], x[2]]))
    assert sizes.tolist() == [2, 2, 1]


def test_whole_labels_keep_their_distances_and_floats_stay_as_they_are():
    dates, like = torch.tensor([20240103, 20240101, 20240102]), torch.zeros(1)
    assert everyone.from_least(dates, like, None).tolist() == [2, 0, 1]
    assert everyone.from_least(torch.tensor([0, 255], dtype=torch.uint8), like, None).tolist() == [0, 255]
    assert everyone.from_least(dates[:0], like, None).tolist() == []
    ages = torch.tensor([45.3, 45.4])
    assert everyone.from_least(ages, like, None) is ages
