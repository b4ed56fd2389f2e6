import pytest
import torch
from torch.nn import functional as F

from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.multi_positive_info_nce import MultiPositiveInfoNCE

PAIRS = torch.tensor([[0, 0, 1, 2, 2, 3, 4], [0, 3, 1, 2, 0, 3, 4]])


@pytest.mark.parametrize("denominator", ["never", "always"])
@pytest.mark.parametrize("with_codes", [False, True])
def test_equals_the_formula_with_gradients(denominator, with_codes, rng):
    q, k = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64).requires_grad_()
    codes = torch.randint(0, 3, (5, 2), generator=rng) if with_codes else None
    positive = torch.zeros(5, 5, dtype=torch.bool)
    positive[PAIRS[0], PAIRS[1]] = True
    scores = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / 0.5
    weights = torch.ones(5, 5) if codes is None else (codes[:, None] != codes[None]).sum(2)
    negatives = (weights * ~positive * scores.exp()).sum(1)
    positives = (positive * scores.exp()).sum(1)
    expected = ((negatives + (positives if denominator == "always" else 0)).log() - positives.log()).mean()
    ours = MultiPositiveInfoNCE(0.5, denominator)(q, k, PAIRS, codes)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, [q, k], retain_graph=True) for x in (ours, expected)))


def test_each_alone_is_info_nce(rng):
    q, k = torch.randn(2, 6, 4, generator=rng)
    own = torch.arange(6).expand(2, -1)
    ours = MultiPositiveInfoNCE(0.3, "always")(q, k, own)
    torch.testing.assert_close(ours, InfoNCE(0.3)(q, k))


@pytest.mark.parametrize("denominator", ["never", "always"])
def test_a_pair_that_is_listed_twice_counts_once(denominator, rng):
    q, k = torch.randn(2, 5, 3, generator=rng)
    again = PAIRS[:, [0, 1, 1, 1, 2, 3, 3, 4, 5, 6]]
    loss = MultiPositiveInfoNCE(0.5, denominator)
    assert torch.equal(loss(q, k, again), loss(q, k, PAIRS))


@pytest.mark.usefixtures("shapes_unchecked")
def test_refuses_pairs_in_rows_and_lists_that_are_flat():
    for wrong in (PAIRS.T, PAIRS[0]):
        with pytest.raises(ValueError, match=r"positives: expected shape \(2, pairs\), queries and keys, got \(7,"):
            MultiPositiveInfoNCE()(torch.eye(5), torch.eye(5), wrong)


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="positive_in_denominator: expected one of 'never', 'always'"):
        MultiPositiveInfoNCE(0.1, "sometimes")
    with pytest.raises(ValueError, match="positives: expected numbers of examples from 0 to 1, got 0 to 2"):
        MultiPositiveInfoNCE()(torch.eye(2), torch.eye(2), torch.tensor([[0, 1], [2, 1]]))


def test_a_solved_task_keeps_the_digits_of_its_gradient(rng):
    first = torch.randn(64, 128, generator=rng)
    second = first + 0.05 * torch.randn(64, 128, generator=rng)
    found = []
    for dtype in (torch.float32, torch.float64):
        q, k = (x.to(dtype).requires_grad_() for x in (first, second))
        loss = MultiPositiveInfoNCE(0.05, "always")(q, k, torch.arange(64).expand(2, -1))
        found.append((*torch.autograd.grad(loss, (q, k)), loss.detach()[None]))
    for single, double in zip(*found, strict=True):
        assert (single - double).norm() < 1e-5 * double.norm()
