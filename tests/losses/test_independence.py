"""Every independence term: gradients go where they belong, values stay finite, fitting lowers the fit."""

import pytest
import torch

from medgraph.losses.hsic import HSIC
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.losses.mmd import MMD
from medgraph.losses.total_correlation import TotalCorrelation
from medgraph.losses.vclub import VCLUB
from medgraph.losses.vl1out import VL1Out
from medgraph.losses.vub import VUB

TERMS = [KernelJointEntropy, VCLUB, VL1Out, VUB, TotalCorrelation, MMD, HSIC]
LEARNED = [VCLUB, VL1Out, VUB, TotalCorrelation]


def make(kind):
    term = kind()
    term.connect(4, 3)
    return term


def example(rng, n=12, scale=1.0):
    common = torch.randn(n, 4, generator=rng, requires_grad=True)
    return common, (scale * torch.randn(n, 3, generator=rng)).requires_grad_(), torch.arange(n) % 2 == 0


@pytest.mark.parametrize("kind", TERMS)
def test_the_term_moves_codes_and_never_its_networks(kind, rng):
    term = make(kind)
    common, salient, is_target = example(rng)
    term(common, salient, is_target).backward()
    assert common.grad.abs().sum() > 0
    assert (salient.grad is not None and bool(salient.grad.any())) == (kind not in (VUB, MMD)) == term.moves_salient
    assert all(p.grad is None for p in term.parameters())


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("use", ["forward", "fit_loss"])
def test_networks_are_built_before_their_first_use(kind, use, rng):
    with pytest.raises(RuntimeError, match=rf"{kind.__name__} has networks of its own: call connect\(common_dim"):
        getattr(kind(), use)(*example(rng))


@pytest.mark.parametrize("kind", LEARNED)
def test_the_fit_moves_networks_and_never_codes(kind, rng):
    term = make(kind)
    common, salient, is_target = example(rng)
    term.fit_loss(common, salient, is_target).backward()
    assert common.grad is None
    assert salient.grad is None
    assert all(p.grad is not None for p in term.parameters())


@pytest.mark.parametrize("kind", [KernelJointEntropy, MMD, HSIC])
def test_terms_without_networks_have_nothing_to_fit(kind, rng):
    assert make(kind).fit_loss(*example(rng)).item() == 0


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("scale", [0.0, 100.0])
def test_finite_for_equal_and_far_codes(kind, scale, rng):
    term = make(kind)
    common, salient, is_target = example(rng, scale=scale)
    (term(common, salient, is_target) + term.fit_loss(common, salient, is_target)).backward()
    assert common.grad is None or common.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in term.parameters())


@pytest.mark.filterwarnings("ignore:.*the loss of this batch is 0")
@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_examples_stay_finite(kind, n, rng):
    term = make(kind)
    common, salient, is_target = example(rng, n=n)
    loss = term(common, salient, is_target)
    assert loss.isfinite()
    assert loss.requires_grad


@pytest.mark.parametrize("kind", [k for k in TERMS if k is not TotalCorrelation])
def test_order_does_not_matter(kind, rng):
    term = make(kind)
    common, salient, is_target = example(rng)
    order = torch.randperm(12, generator=rng)
    moved = term(common[order], salient[order], is_target[order])
    torch.testing.assert_close(moved, term(common, salient, is_target), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [VCLUB, VL1Out, TotalCorrelation])
def test_a_fitted_term_tells_copied_codes_from_independent_ones(kind, rng):
    torch.manual_seed(0)
    values = {}
    for name in ("copied", "independent"):
        term = make(kind)
        optimizer = torch.optim.Adam(term.parameters(), lr=0.01)
        common = torch.randn(256, 4, generator=rng)
        salient = common[:, :3].clone() if name == "copied" else torch.randn(256, 3, generator=rng)
        is_target = torch.ones(256, dtype=torch.bool)
        for _ in range(60):
            optimizer.zero_grad()
            term.fit_loss(common, salient, is_target).backward()
            optimizer.step()
        values[name] = term(common, salient, is_target).item()
    assert values["copied"] > values["independent"] + 0.5


def test_total_correlation_is_the_mean_logit_of_its_discriminator(rng):
    term = make(TotalCorrelation)
    common, salient, is_target = example(rng)
    logits = term.discriminator(torch.cat([common, salient], dim=1))
    torch.testing.assert_close(term(common, salient, is_target), logits.mean())


@pytest.mark.parametrize("kind", LEARNED)
def test_hidden_width_is_checked(kind):
    with pytest.raises(ValueError, match="hidden_dim: expected 1 or more, got 0"):
        kind(hidden_dim=0)


def test_clip_keeps_total_correlation_from_going_below_zero(rng):
    common, salient, is_target = example(rng)
    values = []
    for clip in (False, True):
        term = TotalCorrelation(clip=clip)
        torch.manual_seed(0)
        term.connect(4, 3)
        term.discriminator[-1].bias.data.fill_(-5.0)
        values.append(term(common, salient, is_target).item())
    assert values[0] < 0
    assert values[1] == 0
