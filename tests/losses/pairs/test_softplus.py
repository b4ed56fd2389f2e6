import math

import pytest
import torch
from torch.nn import functional as F

from medgraph.losses.anchors import with_positive
from medgraph.losses.pairs import pair_sum
from medgraph.losses.pairs.softplus import softplus


@pytest.mark.parametrize("value", [-800.0, -30.0, 0.0, 19.0, 21.0, 30.0, 39.0, 41.0, 800.0])
def test_double_precision_is_exact(value):
    x = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    expected = max(value, 0.0) + math.log1p(math.exp(-abs(value)))
    assert softplus(x).item() == pytest.approx(expected, rel=3e-16)
    assert with_positive(x, torch.zeros_like(x)).item() == pytest.approx(expected, rel=3e-16)
    assert pair_sum(x[:, None], torch.ones_like(x)[:, None], phi="softplus").item() == pytest.approx(
        expected, rel=3e-16
    )
    softplus(x).backward()
    assert x.grad.item() == pytest.approx(1 / (1 + math.exp(-value)) if value > -700 else 0, rel=3e-16)


def test_single_precision_is_that_of_torch(rng):
    x = 30 * torch.randn(1000, generator=rng)
    assert torch.equal(softplus(x), F.softplus(x))
