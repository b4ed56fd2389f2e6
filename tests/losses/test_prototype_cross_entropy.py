"""PrototypeCrossEntropy: equal to a loop, for codes and labels; ln k on collapse."""

import math

import pytest
import torch
from reference.losses_prototypes import loop_cross_entropy
from torch.nn import functional as F

from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy


@pytest.mark.parametrize("temperature", [0.05, 0.1, 2.0])
def test_codes_equal_loop(temperature, rng):
    scores = torch.rand(7, 5, generator=rng, dtype=torch.float64)
    codes = torch.rand(7, 5, generator=rng, dtype=torch.float64).softmax(dim=1)
    expected = loop_cross_entropy(scores, codes, temperature)
    assert PrototypeCrossEntropy(temperature)(scores, codes).item() == pytest.approx(expected, rel=1e-12)


def test_labels_equal_codes_that_are_one_at_the_label(rng):
    scores = torch.rand(7, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(5, (7,), generator=rng)
    expected = loop_cross_entropy(scores, F.one_hot(labels, 5).double(), 0.1)
    assert PrototypeCrossEntropy(0.1)(scores, labels).item() == pytest.approx(expected, rel=1e-12)


def test_rows_without_label_add_nothing(rng):
    scores = torch.rand(6, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, -100, 3, 1, -100, 2])
    loss = PrototypeCrossEntropy()(scores, labels)
    torch.testing.assert_close(loss, PrototypeCrossEntropy()(scores[labels >= 0], labels[labels >= 0]))
    loss.backward()
    assert (scores.grad[labels < 0] == 0).all()


def test_no_labelled_row_gives_zero_with_a_graph():
    scores = torch.ones(3, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="all 3 anchors have no label"):
        loss = PrototypeCrossEntropy()(scores, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0
    assert (scores.grad == 0).all()


def test_no_row_gives_zero_with_a_graph():
    scores = torch.ones(0, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="all 0 anchors have no code"):
        loss = PrototypeCrossEntropy()(scores, torch.ones(0, 4))
    loss.backward()
    assert loss.item() == 0


def test_equal_scores_give_log_k():
    loss = PrototypeCrossEntropy()(torch.full((5, 8), 0.7), torch.full((5, 8), 1 / 8))
    assert loss.item() == pytest.approx(math.log(8), abs=1e-6)


def test_uniform_codes_give_at_least_log_k(rng):
    loss = PrototypeCrossEntropy()(torch.rand(5, 8, generator=rng), torch.full((5, 8), 1 / 8))
    assert loss.item() > math.log(8)


@pytest.mark.parametrize("soft", [True, False])
def test_gradient_is_prediction_minus_target(soft, rng):
    scores = torch.rand(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    codes = torch.rand(4, 3, generator=rng, dtype=torch.float64).softmax(dim=1)
    labels = torch.tensor([0, 2, 1, 1])
    PrototypeCrossEntropy(0.5)(scores, codes if soft else labels).backward()
    expected = ((scores / 0.5).softmax(dim=1) - (codes if soft else F.one_hot(labels, 3))) / 0.5 / 4
    torch.testing.assert_close(scores.grad, expected.detach())
    assert torch.autograd.gradcheck(lambda s: PrototypeCrossEntropy(0.5)(s, codes if soft else labels), scores)


def test_targets_receive_no_gradient(rng):
    codes = torch.rand(4, 3, generator=rng).softmax(dim=1).requires_grad_()
    PrototypeCrossEntropy()(torch.rand(4, 3, generator=rng, requires_grad=True), codes).backward()
    assert codes.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_equals_the_same_scores_in_float64(dtype, rng):
    scores = (2 * torch.rand(6, 50, generator=rng) - 1).to(dtype)
    codes = torch.rand(6, 50, generator=rng).softmax(dim=1)
    loss = PrototypeCrossEntropy(0.01)(scores, codes)
    expected = PrototypeCrossEntropy(0.01)(scores.double(), codes.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_refuses_a_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        PrototypeCrossEntropy(temperature)


def test_codes_that_are_no_numbers_are_named(rng):
    codes = torch.full((4, 3), 1 / 3)
    codes[2, 1] = torch.nan
    with pytest.raises(ValueError, match="targets: NaN or infinity in 1 of 4 embeddings, rows 2"):
        PrototypeCrossEntropy()(torch.rand(4, 3, generator=rng), codes)


@pytest.mark.usefixtures("shapes_unchecked")
def test_labels_that_are_none_are_named(rng):
    scores = torch.rand(2, 3, generator=rng)
    for labels, got in (([0, 3], 3), ([-1, 0], -1)):
        with pytest.raises(ValueError, match=f"targets: expected prototypes 0 to 2 or -100, got {got}"):
            PrototypeCrossEntropy()(scores, torch.tensor(labels))
    with pytest.raises(TypeError, match="targets: expected whole numbers as labels"):
        PrototypeCrossEntropy()(scores, torch.tensor([0.9, 1.9]))
