import pytest
import torch

from medgraph.hetero.semantic_attention import SemanticAttention


def views(rng, count=4):
    return [torch.randn(6, 5, generator=rng) for _ in range(count)]


def test_weights_follow_the_formula_and_sum_to_one(rng):
    attention, z = SemanticAttention(5).eval(), views(rng)
    scores = torch.stack([(torch.tanh(attention.hidden(v)) @ attention.score[0]).mean() for v in z])
    fused, weights = attention(z)
    torch.testing.assert_close(weights, scores.softmax(0))
    torch.testing.assert_close(fused, sum(w * v for w, v in zip(weights, z, strict=True)))
    assert weights.sum().item() == pytest.approx(1.0)


def test_permuting_the_views_permutes_the_weights_and_leaves_the_result(rng):
    attention, z = SemanticAttention(5).eval(), views(rng)
    order = [2, 0, 3, 1]
    fused, weights = attention(z)
    again, permuted = attention([z[i] for i in order])
    torch.testing.assert_close(again, fused)
    torch.testing.assert_close(permuted, weights[order])


def test_one_view_is_handed_through(rng):
    (z,) = views(rng, 1)
    assert torch.equal(SemanticAttention(5)([z])[0], z)


def test_mean_weighs_equally_and_has_no_parameters(rng):
    attention, z = SemanticAttention(5, fusion="mean"), views(rng)
    torch.testing.assert_close(attention(z)[0], torch.stack(z).mean(0))
    assert list(attention.parameters()) == []


def test_dropout_acts_in_training_only(rng):
    attention, z = SemanticAttention(5, dropout=0.9), views(rng)
    assert not torch.equal(attention.train()(z)[1], attention.eval()(z)[1])
    with pytest.raises(ValueError, match="fusion: expected one of 'attention', 'mean', got 'max'"):
        SemanticAttention(5, fusion="max")
