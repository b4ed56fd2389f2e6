import math

import pytest
import torch
from torch.nn import functional as F

from medgraph.runner.monitor import CollapseWatch


def spread(rng):
    z = F.normalize(torch.randn(64, 16, generator=rng), dim=1)
    return z, torch.randn(64, 8, generator=rng)


def test_healthy_embeddings_are_left_alone(rng):
    values, messages = CollapseWatch().observe(100, 1.5, *spread(rng))
    assert messages == []
    assert values["loss_minus_ln_k"] == pytest.approx(1.5 - math.log(8))
    assert values["effective_rank"] > 12
    assert values["used_prototypes"] == 1.0


def test_collapse_is_said_once_and_in_words():
    watch = CollapseWatch()
    z, scores = torch.ones(64, 16), torch.ones(64, 64)
    said = [watch.observe(step, math.log(64), z, scores)[1] for step in range(10, 110, 10)]
    assert [bool(messages) for messages in said] == [step == 50 for step in range(10, 110, 10)]
    for words in ("the loss stays at ln K", "fill 0.0 directions only", "2% of the prototypes are used"):
        assert words in " ".join(said[4])


def test_passing_ln_k_or_standing_far_above_it_is_no_collapse(rng):
    """As DeepCluster does: sharp codes that are not yet foretold, then a loss that falls through ln K."""
    watch, ln_k = CollapseWatch(), math.log(8)
    for step, above in enumerate([1.7, 1.5, 1.0, 0.6, 0.3, 0.1, 0.03, 0.0, -0.3, -1.0], start=5):
        assert watch.observe(10 * step, ln_k + above, *spread(rng))[1] == []
    said = [watch.observe(step, ln_k, *spread(rng))[1] for step in (200, 210, 220, 230)]
    assert [len(messages) for messages in said] == [0, 0, 1, 0]
