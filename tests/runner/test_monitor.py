import math

import pytest
import torch
from torch.nn import functional as F

from medgraph.runner.monitor import CollapseWatch, effective_rank


def spread(rng):
    z = F.normalize(torch.randn(64, 16, generator=rng), dim=1)
    return z, torch.randn(64, 8, generator=rng)


def test_healthy_embeddings_are_left_alone(rng):
    values, messages = CollapseWatch().observe(100, 1.5, *spread(rng))
    assert messages == []
    assert values["loss_minus_ln_k"] == pytest.approx(1.5 - math.log(8))
    assert values["effective_rank"] > 12
    assert values["used_prototypes"] == 1.0


def test_collapse_is_said_once_and_in_words(rng):
    watch = CollapseWatch()
    z, scores = torch.ones(64, 16), torch.ones(64, 64)
    assert watch.observe(10, math.log(64), z, scores)[1] == []
    messages = " ".join(watch.observe(60, math.log(64), z, scores)[1])
    for words in ("the loss stays at ln K", "fill 1.0 directions only", "2% of the prototypes are used"):
        assert words in messages
    assert watch.observe(70, math.log(64), z, scores)[1] == []


def test_effective_rank_counts_equal_directions():
    assert effective_rank(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(4.0)
    assert effective_rank(torch.ones(5, 3)) == 1.0
