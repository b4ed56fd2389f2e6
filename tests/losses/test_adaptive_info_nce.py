"""AdaptiveInfoNCE: equal to a perceptron on every pair, gradients of its weights included."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_adaptive

from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE


@pytest.mark.parametrize("norm", ["none", "row_mean"])
def test_equals_loop(norm, any_tile, rng):
    queries, keys = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    loss = AdaptiveInfoNCE(3, 5, 0.5, norm).double()
    names, values = zip(*loss.named_parameters(), strict=True)

    def fast(q, k, *parameters):
        return torch.func.functional_call(loss, dict(zip(names, parameters, strict=True)), (q, k))

    def slow(q, k, *parameters):
        p = dict(zip(names, parameters, strict=True))
        first = (torch.cat([p["of_queries.weight"], p["of_keys.weight"]], dim=1), p["of_queries.bias"])
        return loop_adaptive(q, k, first, (p["score.weight"][0], p["score.bias"][0]), norm == "row_mean", 0.5)

    assert_equal_with_gradients(fast, slow, queries, keys, *values)


def test_reordering_examples_changes_nothing(rng):
    queries, keys = torch.randn(2, 9, 4, generator=rng)
    order, loss = torch.randperm(9, generator=rng), AdaptiveInfoNCE(4, weight_norm="row_mean")
    torch.testing.assert_close(loss(queries[order], keys[order]), loss(queries, keys))


def test_one_example_has_no_row_mean_and_gives_zero_with_a_graph(rng):
    x = torch.randn(1, 4, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 1 anchors have no other key"):
        loss = AdaptiveInfoNCE(4, weight_norm="row_mean")(x, torch.ones(1, 4))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        AdaptiveInfoNCE(4, temperature=0.0)
    with pytest.raises(ValueError, match="weight_norm: expected one of 'none', 'row_mean'"):
        AdaptiveInfoNCE(4, weight_norm="sum")
    with pytest.raises(ValueError, match="dim: expected 1 or more"):
        AdaptiveInfoNCE(0)


def test_one_layer_for_the_sum_of_a_pair_equals_loop(any_tile, rng):
    queries, keys = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    loss = AdaptiveInfoNCE(3, 5, 0.5, pair_input="sum").double()
    first = loss.of_queries.weight.repeat(1, 2), loss.of_queries.bias
    second = loss.score.weight[0], loss.score.bias[0]
    assert_equal_with_gradients(loss, lambda q, k: loop_adaptive(q, k, first, second, False, 0.5), queries, keys)


def test_refuses_embeddings_of_another_width():
    with pytest.raises(ValueError, match="dim: the loss was made for width 4, got 3"):
        AdaptiveInfoNCE(4)(torch.eye(3), torch.eye(3))


@pytest.mark.parametrize("norm", ["none", "row_mean"])
def test_keys_beyond_the_queries_are_further_negatives(norm, any_tile, rng):
    queries, keys = torch.randn(4, 3, generator=rng).double(), torch.randn(9, 3, generator=rng).double()
    loss = AdaptiveInfoNCE(3, 5, 0.5, norm, pair_input="sum").double()
    q, k = torch.nn.functional.normalize(queries, dim=1), torch.nn.functional.normalize(keys, dim=1)
    weights = loss.score(torch.tanh(loss.of_queries(q[:, None] + k[None]))).sigmoid()[..., 0]  # (4, 9)
    if norm == "row_mean":
        others = ~torch.eye(4, 9, dtype=torch.bool)
        weights = weights / ((weights * others).sum(1, keepdim=True) / 8)
    scores = q @ k.T / 0.5
    expected = ((scores.exp() * weights).sum(1).log() - scores.diagonal()).mean()
    torch.testing.assert_close(loss(queries, keys), expected)
    with pytest.raises(ValueError, match="AdaptiveInfoNCE: 4 queries need at least 4 keys, their own first; got 3"):
        loss(queries, keys[:3])


@pytest.mark.parametrize("pair_input", ["both", "sum"])
@pytest.mark.parametrize(
    ("module", "inputs"), [(torch.float32, torch.float64), (torch.bfloat16, torch.float32), (torch.bfloat16,) * 2]
)
def test_module_and_embeddings_may_differ_in_type(module, inputs, pair_input, rng):
    torch.manual_seed(0)
    loss = AdaptiveInfoNCE(4, 8, pair_input=pair_input).to(module)
    queries, keys = torch.randn(2, 6, 4, generator=rng).to(inputs)
    found = loss(queries, keys)
    found.backward()
    assert loss.of_queries.weight.grad.dtype == module
    wide = AdaptiveInfoNCE(4, 8, pair_input=pair_input).double()
    wide.load_state_dict(loss.state_dict())
    assert found.item() == pytest.approx(wide(queries.double(), keys.double()).item(), rel=1e-5)
