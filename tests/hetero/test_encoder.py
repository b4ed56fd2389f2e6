from dataclasses import replace

import numpy as np
import pytest
import torch
from hetero.planted import encoder_for, planted_graph, planted_views
from torch.nn import functional as F

from medgraph.data import sparse
from medgraph.hetero.encoder import MetapathEncoder, TypeProjection
from medgraph.hetero.sampled_encoder import SampledMetapathEncoder


def test_the_whole_pass_equals_the_formulas_on_dense_matrices(data):
    encoder, views = encoder_for(data).eval(), data.views
    h = {name: F.elu(p(views.features[name])) for name, p in encoder.projections.items()}
    h["masked"] = F.elu(encoder.projections["paper"](views.masked_features))

    def f(x, adjacency):
        hidden = F.prelu(adjacency @ (x @ encoder.first), encoder.slope[None])
        z = adjacency @ (hidden @ encoder.second)
        return (z - z.mean()) / (z.var(unbiased=False) + 1e-5).sqrt()

    fine = []
    for path in views.paths:
        context = path.context[0][1].dense() @ h[path.context[0][0]] @ encoder.contexts[path.name][0].weight.T
        fine.append(F.normalize(f(F.elu(h["paper"] + context), path.adjacency.dense()), dim=1))
        fine.append(F.normalize(f(F.elu(h["masked"] + context), path.masked.dense()), dim=1))
    encoded = encoder.encode(views)
    torch.testing.assert_close(encoded.coarse, f(h["paper"], views.coarse.dense()), rtol=1e-4, atol=1e-5)
    expected, weights = encoder.attention(fine)
    torch.testing.assert_close(encoded.fine, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoded.attention, weights)
    assert torch.equal(encoder(views), encoded.fine)


def test_one_hot_features_are_a_lookup():
    projection = TypeProjection(5, 3)
    torch.testing.assert_close(projection(None), projection(torch.eye(5)))


def test_permuting_targets_permutes_the_features():
    order = np.random.default_rng(3).permutation(90)
    # every neighbour is kept: which of equally similar ones survive depends on their numbers
    settings = {"top_k": (90,), "masked_copies": False}
    plain = planted_views(**settings)
    moved = planted_views(planted_graph(order=order), **settings)
    found = encoder_for(plain).eval()(plain.views)
    again = encoder_for(moved).eval()(moved.views)
    torch.testing.assert_close(again, found[torch.from_numpy(order)], rtol=1e-4, atol=1e-5)


def test_permuting_meta_paths_leaves_the_features():
    first = planted_views(metapaths=("pap", "psp"), top_k=(20,), masked_copies=False)
    second = planted_views(metapaths=("psp", "pap"), top_k=(20,), masked_copies=False)
    encoder = encoder_for(first).eval()
    other = encoder_for(second).eval()
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other(second.views), encoder(first.views))
    weights = encoder.encode(first.views).attention
    assert abs(weights[0] - weights[1]) > 1e-4
    torch.testing.assert_close(other.encode(second.views).attention, weights.flip(0))
    one = planted_views(metapaths=("pap",), top_k=(20,), masked_copies=False)
    assert encoder_for(one).encode(one.views).attention.tolist() == [1.0]


@pytest.mark.parametrize("norm", ["global", "row", "none"])
def test_norms(norm, data):
    encoder = encoder_for(data, norm=norm)
    with torch.no_grad():
        encoder.first.mul_(1e4)  # far above the epsilon of the norm
    coarse = encoder.encode(data.views).coarse.detach()
    if norm == "global":
        assert abs(coarse.mean()) < 1e-5
        assert coarse.var(unbiased=False).item() == pytest.approx(1.0, abs=1e-3)
    elif norm == "row":
        torch.testing.assert_close(coarse.mean(1), torch.zeros(90), atol=1e-5, rtol=0)
        torch.testing.assert_close(coarse.var(1, unbiased=False), torch.ones(90), atol=1e-3, rtol=0)
    else:
        assert coarse.std() > 2


def test_the_last_training_pass_can_be_what_is_extracted(data):
    encoder = encoder_for(data, dropout=0.5, extract="last_train_forward")
    untrained = encoder.eval()(data.views)  # nothing to hand out yet: a clean pass
    assert torch.equal(untrained, encoder.encode(data.views).fine)
    trained = encoder.train()(data.views)
    assert torch.equal(encoder.eval()(data.views), trained)
    copy = encoder_for(data, dropout=0.5, extract="last_train_forward").eval()
    copy.load_state_dict(encoder.state_dict())
    assert torch.equal(copy(data.views), trained)


@pytest.mark.parametrize("extract", ["clean", "last_train_forward"])
def test_both_views_can_be_handed_on_as_a_sum_of_unit_rows(data, extract):
    encoder = encoder_for(data, output="sum", extract=extract).eval()
    encoded = encoder.encode(data.views)
    length = encoded.fine.norm(dim=1, keepdim=True)
    expected = encoded.fine / length + encoded.coarse / encoded.coarse.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(data.views), expected)
    encoder.train()(data.views)  # without dropout the pass of training hands on the same
    torch.testing.assert_close(encoder.eval()(data.views), expected)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("extract", ["clean", "last_train_forward"])
def test_averages_of_the_own_features_can_stand_beside_the_fine_view(extract, unit):
    data = planted_views(unit_features=unit)
    encoder = encoder_for(data, output="joined", extract=extract).eval()
    views = data.views
    x, coarse = sparse.to_scipy(views.features["paper"].forward_matrix).toarray(), views.coarse.dense().numpy()
    right = np.linalg.svd(x)[2][: encoder.dim]
    averages = torch.from_numpy((coarse @ coarse @ x @ right.T).astype(np.float32))
    found = encoder(views)
    assert found.shape == (90, encoder.out_dim) == (90, 2 * encoder.dim)
    torch.testing.assert_close(found[:, : encoder.dim], F.normalize(encoder.encode(views).fine, dim=1))
    learned_none = found[:, encoder.dim :]
    assert not encoder.averages(views).requires_grad
    expected = F.normalize(averages, dim=1)  # up to the signs of the directions, which inner products do not see
    torch.testing.assert_close(learned_none @ learned_none.T, expected @ expected.T, rtol=1e-3, atol=1e-4)
    encoder.train()(views)  # without dropout the pass of training hands on the same
    torch.testing.assert_close(encoder.eval()(views), found)


def test_averages_keep_the_directions_of_the_first_graph(data):
    encoder = encoder_for(data, output="joined").eval()
    encoder(data.views)
    kept = encoder.averages.directions.clone()
    other = planted_views(planted_graph(seed=5))
    found = encoder(other.views)
    assert torch.equal(encoder.averages.directions, kept)
    copy = encoder_for(data, output="joined").eval()
    copy.load_state_dict(encoder.state_dict())
    assert torch.equal(copy(other.views), found)
    fresh = encoder_for(data, output="joined").eval()
    fresh.load_state_dict(encoder.state_dict())
    fresh.averages.directions.zero_()
    assert not torch.allclose(fresh(other.views), found)


def test_a_target_without_features_has_no_averages(data):
    bare = replace(data.spec, feature_dims={**data.spec.feature_dims, "paper": 0})
    with pytest.raises(ValueError, match=r"output: joined needs features of paper.* set data.bare_target to walks"):
        MetapathEncoder(bare, output="joined")


def test_dropout_is_drawn_anew_in_training_and_off_in_evaluation(data):
    encoder = encoder_for(data, dropout=0.3)
    assert not torch.equal(encoder(data.views), encoder(data.views))
    encoder.eval()
    assert torch.equal(encoder(data.views), encoder(data.views))


def test_wrong_settings_are_refused(data):
    for wrong, message in (
        ({"norm": "batch"}, "norm: expected one of"),
        ({"extract": "best"}, "extract: expected one of"),
        ({"output": "both"}, "output: expected one of 'fine', 'sum', 'joined', got 'both'"),
        ({"dropout": 1.0}, "dropout: expected a number from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            MetapathEncoder(data.spec, **wrong)


def test_first_weights_are_drawn_as_asked(data):
    bounded = encoder_for(data, init="uniform").projections["paper"]
    assert bounded.weight.abs().max() <= 30**-0.5
    assert 0 < bounded.bias.abs().max() <= 30**-0.5
    wide = encoder_for(data, init="xavier")
    assert wide.projections["paper"].weight.std().item() == pytest.approx(1.414 * (2 / 46) ** 0.5, rel=0.15)
    assert (wide.projections["paper"].bias == 0).all()
    assert wide.contexts["pap"][0].weight.std().item() == pytest.approx(1.414 * (2 / 32) ** 0.5, rel=0.15)
    with pytest.raises(ValueError, match="init: expected one of 'xavier', 'uniform', got 'zero'"):
        encoder_for(data, init="zero")


@pytest.mark.parametrize("is_dense", [True, False])
def test_each_path_starts_from_its_own_features_and_coarse_from_their_mean(is_dense):
    data = planted_views(context="none", feature_mask=0.4)
    torch.manual_seed(0)
    encoder = MetapathEncoder(replace(data.spec, path_feature_dims={"psp": 10, "pap": 20}), dim=16, dropout=0.0)
    own, masked = (data.views.features["paper"], data.views.masked_features)
    if is_dense:
        views = replace(data.views, features={"paper": own.dense()}, masked_features=masked.dense())
    else:
        views = data.views
    weight, bias = encoder.projections["paper"].weight, encoder.projections["paper"].bias
    blocks = {"pap": slice(10, 30), "psp": slice(0, 10)}
    starts, fine = [], []
    for path in views.paths:
        block = blocks[path.name]
        for features, adjacency in ((own, path.adjacency), (masked, path.masked)):
            starts.append(F.elu(features.dense()[:, block] @ weight[block] + bias))
            fine.append(F.normalize(encoder._graph(F.elu(starts[-1]), adjacency), dim=1))
    found = encoder.encode(views)
    expected, _ = encoder.attention(fine)
    torch.testing.assert_close(found.fine, expected, rtol=1e-4, atol=1e-5)
    coarse = encoder._graph((starts[0] + starts[2]) / 2, views.coarse)
    torch.testing.assert_close(found.coarse, coarse, rtol=1e-4, atol=1e-4)
    found.fine.square().sum().backward()
    assert encoder.projections["paper"].weight.grad.abs().sum(1).gt(0).all()


def test_batches_take_no_features_for_each_path(data):
    with pytest.raises(ValueError, match="metapath_sampled: takes no features for each meta-path"):
        SampledMetapathEncoder(replace(data.spec, path_feature_dims={"pap": 20, "psp": 10}))
