"""SwappedPrediction: equal to a loop over crops; ln k on collapse; labels instead of codes."""

import math

import pytest
import torch
from reference.losses_prototypes import loop_cross_entropy, matrix_sinkhorn
from torch.nn import functional as F

from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.losses.swapped_prediction import SwappedPrediction


def _scores(rng, num_crops=5):
    prototypes = F.normalize(torch.randn(6, 4, generator=rng, dtype=torch.float64), dim=1)
    embeddings = F.normalize(torch.randn(num_crops, 9, 4, generator=rng, dtype=torch.float64), dim=2)
    return list(embeddings @ prototypes.T)


@pytest.mark.parametrize("num_crops", [2, 5])
def test_equals_loop_over_crops(num_crops, rng):
    scores = _scores(rng, num_crops)
    expected = 0.0
    for a in range(2):
        codes = matrix_sinkhorn(scores[a], 0.05, 3)
        others = [v for v in range(num_crops) if v != a]
        expected += sum(loop_cross_entropy(scores[v], codes, 0.1) for v in others) / len(others) / 2
    ours = SwappedPrediction(0.1)(scores, [sinkhorn(each) for each in scores[:2]])
    assert ours.item() == pytest.approx(expected, rel=1e-10)


def test_identical_embeddings_give_at_least_log_k_and_equal_scores_exactly(rng):
    scores = [_scores(rng)[0][:1].expand(9, 6)] * 2
    codes = [sinkhorn(each) for each in scores]
    assert SwappedPrediction()(scores, codes).item() > math.log(6)
    equal = [torch.full((9, 6), 0.4)] * 2
    assert SwappedPrediction()(equal, [sinkhorn(each) for each in equal]).item() == pytest.approx(math.log(6), abs=1e-5)


def test_order_of_the_small_crops_changes_nothing(rng):
    scores = _scores(rng)
    codes = [sinkhorn(each) for each in scores[:2]]
    swapped = [scores[0], scores[1], scores[4], scores[3], scores[2]]
    torch.testing.assert_close(SwappedPrediction()(swapped, codes), SwappedPrediction()(scores, codes))


def test_labels_equal_codes_that_are_one_at_the_label(rng):
    scores = _scores(rng)
    labels = [torch.randint(6, (9,), generator=rng) for _ in range(2)]
    codes = [F.one_hot(each, 6).double() for each in labels]
    torch.testing.assert_close(SwappedPrediction()(scores, labels), SwappedPrediction()(scores, codes))


def test_no_crop_learns_from_its_own_codes(rng):
    scores = [each.requires_grad_() for each in _scores(rng, 2)]
    SwappedPrediction()(scores, [sinkhorn(scores[0])]).backward()
    assert scores[0].grad is None
    assert scores[1].grad.abs().sum() > 0


def test_gradient_is_that_of_the_value(rng):
    scores = [each[:2, :3].clone().requires_grad_() for each in _scores(rng, 3)]
    codes = [sinkhorn(each) for each in scores[:2]]
    assert torch.autograd.gradcheck(lambda *s: SwappedPrediction(0.5)(s, codes), scores)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="got scores: 1, codes: 1"):
        SwappedPrediction()([torch.ones(2, 3)], [torch.ones(2, 3)])
    with pytest.raises(ValueError, match="got scores: 2, codes: 0"):
        SwappedPrediction()([torch.ones(2, 3)] * 2, [])
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        SwappedPrediction(0.0)
