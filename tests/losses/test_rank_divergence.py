"""RankDivergence: equal to scipy's ranks and entropy; least for the true ranks."""

import pytest
import torch
from scipy.stats import entropy, rankdata

from medgraph.losses.rank_divergence import RankDivergence, average_ranks


def test_average_ranks_equal_scipy(rng):
    values = torch.randint(5, (20,), generator=rng).float()
    assert average_ranks(values).tolist() == rankdata(values.numpy(), method="average").tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_divergence_of_softmaxes(temperature, rng):
    predictions = torch.randn(8, generator=rng, dtype=torch.float64)
    targets = torch.randint(4, (8,), generator=rng).double()
    true = (torch.from_numpy(rankdata(targets.numpy())) / temperature).softmax(dim=0)
    expected = entropy(true.numpy(), (predictions / temperature).softmax(dim=0).numpy())
    assert RankDivergence(temperature)(predictions, targets).item() == pytest.approx(expected, rel=1e-10)


def test_predicting_the_ranks_gives_zero_and_anything_else_more(rng):
    targets = torch.randn(8, generator=rng, dtype=torch.float64)
    assert RankDivergence()(average_ranks(targets) + 5, targets).item() == pytest.approx(0, abs=1e-12)
    assert RankDivergence()(average_ranks(-targets), targets).item() > 0


def test_a_rising_change_of_the_targets_changes_nothing(rng):
    predictions, targets = torch.randn(2, 8, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(RankDivergence()(predictions, targets.exp()), RankDivergence()(predictions, targets))


def test_gradient_is_that_of_the_value_and_stops_at_targets(rng):
    predictions, targets = (torch.randn(6, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda p: RankDivergence()(p, targets.detach()), predictions)
    RankDivergence()(predictions, targets).backward()
    assert targets.grad is None


def test_refuses_a_wrong_temperature():
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        RankDivergence(0.0)
