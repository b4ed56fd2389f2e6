"""Properties that hold for every pairwise loss, and for random shapes and labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import distributed_losses

from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.losses.debiased import DebiasedNTXent
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.inverse_propensity import InversePropensity
from medgraph.losses.multi_view import MVDHEL, MVInfoNCE
from medgraph.losses.nt_xent import NTXent
from medgraph.losses.supcon import SupCon
from medgraph.nn.group_whitening import GroupWhitening

CASES = pytest.mark.parametrize("case", distributed_losses.CASES, ids=lambda case: f"{case[0]}-{case[1]}")
SOME = settings(max_examples=20, deadline=None)
SEED, SMALL, TEMPERATURE = st.integers(0, 10_000), st.integers(2, 9), st.floats(0.05, 2.0)


def _normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@CASES
@pytest.mark.filterwarnings("ignore")
def test_reordering_examples_changes_nothing(case, rng):
    if case[0] == "supremix":  # draws go by an anchor's number, so an order of its own gives draws of its own
        case = (case[0], {**case[1], "max_mixed_positives": 0, "mixed_negatives": False}, *case[2:])
    rows, extra = distributed_losses.draw(4)
    order = torch.randperm(len(rows["x"]), generator=rng)
    found = distributed_losses.values(*case, {k: v[order] for k, v in rows.items()}, extra.flip(0), None)
    torch.testing.assert_close(found, distributed_losses.values(*case, rows, extra, None), rtol=0, atol=1e-10)


@CASES
@pytest.mark.filterwarnings("ignore")
def test_calls_leave_nothing_behind(case):
    loss, inputs, leaves = distributed_losses.prepared(*case, *distributed_losses.draw(2), None)
    first, again = loss(*inputs()), loss(*inputs())
    assert torch.equal(first, again)
    kept = [torch.autograd.grad(first, leaves, retain_graph=True, allow_unused=True) for _ in range(2)]
    other = torch.autograd.grad(again, leaves, allow_unused=True)
    for one, two, three in zip(*kept, other, strict=True):
        assert (one is None and two is None and three is None) or (torch.equal(one, two) and torch.equal(one, three))


@SOME
@given(seed=SEED, n=SMALL, num_labels=st.integers(1, 4), temperature=TEMPERATURE)
def test_in_is_never_above_out(seed, n, num_labels, temperature):
    x = _normal(seed, n, 3)
    labels = torch.arange(n) % min(num_labels, n - 1)  # two examples share a label at least
    inside, outside = (SupCon(temperature, mode)(x, labels) for mode in ("in", "out"))
    assert inside <= outside + 1e-12


@SOME
@given(seed=SEED, n=SMALL, temperature=TEMPERATURE)
def test_without_prior_and_tilt_debiased_is_nt_xent(seed, n, temperature):
    first, second = _normal(seed, 2, n, 4)
    torch.testing.assert_close(
        DebiasedNTXent(temperature, positive_prior=0.0, beta=0.0)(first, second), NTXent(temperature)(first, second)
    )
    tilted = [DebiasedNTXent(temperature, 0.1, beta)(first, second) for beta in (0.0, 1e-9)]
    torch.testing.assert_close(*tilted, rtol=1e-6, atol=1e-6)


@SOME
@given(seed=SEED, n=SMALL, propensity=st.floats(0.02, 1.0))
def test_a_constant_propensity_is_info_nce(seed, n, propensity):
    queries, keys = _normal(seed, 2, n, 4)
    constant = torch.full((n,), propensity, dtype=torch.float64)
    torch.testing.assert_close(InversePropensity(0.2)(queries, keys, constant), InfoNCE(0.2)(queries, keys))


@SOME
@given(seed=SEED, n=SMALL, num_views=st.integers(2, 5), same_view=st.booleans())
def test_permuting_views_changes_nothing(seed, n, num_views, same_view):
    views = _normal(seed, num_views, n, 4)
    order = torch.randperm(num_views, generator=torch.Generator().manual_seed(seed))
    for loss in (MVInfoNCE(0.3, same_view_negatives=same_view), MVDHEL(0.3)):
        torch.testing.assert_close(loss(views[order]), loss(views))


@SOME
@given(seed=SEED, n=st.integers(1, 30), k=st.integers(1, 8), epsilon=st.floats(0.3, 1.0))
def test_rows_of_codes_sum_to_one_and_columns_to_their_share(seed, n, k, epsilon):
    codes = sinkhorn(_normal(seed, n, k).tanh(), epsilon, iterations=200)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(n, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((k,), n / k, dtype=torch.float64), rtol=1e-3, atol=1e-3)


@SOME
@given(seed=SEED, width=st.integers(1, 4), num_groups=st.integers(1, 3), method=st.sampled_from(["cholesky", "zca"]))
def test_whitening_gives_the_identity(seed, width, num_groups, method):
    dim = width * num_groups
    x = _normal(seed, 40, dim) @ (torch.eye(dim, dtype=torch.float64) + 0.3 * _normal(seed + 1, dim, dim)) + 5
    white = GroupWhitening(dim, num_groups, method, shuffle=False, regularization=0.0)(x)
    for group in white.split(width, dim=1):
        covariance = group.T.cov().reshape(width, width)
        torch.testing.assert_close(covariance, torch.eye(width, dtype=torch.float64), rtol=0, atol=1e-6)
