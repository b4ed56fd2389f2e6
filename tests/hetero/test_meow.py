import copy

import pytest
import torch
from hetero.planted import encoder_for, planted_graph, planted_views
from hetero.whole import planted_batches, sampled_encoder

from medgraph.evaluation.node_scores import NodeProbe
from medgraph.hetero.adameow import AdaMEOW
from medgraph.hetero.meow import MEOW
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.multi_positive_info_nce import MultiPositiveInfoNCE
from medgraph.losses.weighted_info_nce import WeightedInfoNCE
from medgraph.method import Step


def make(data, loss=None, encoder=None, **arguments) -> MEOW:
    settings = {"embedding_dim": 16, "num_clusters": (4, 9), "kmeans_iterations": 5, **arguments}
    return MEOW(data.spec, encoder or encoder_for(data, dropout=0.2), loss or WeightedInfoNCE(0.5), **settings)


def fit(method, data, epochs, lr=0.005):
    method.train()
    optimizer = torch.optim.Adam(method.parameters(), lr=lr)
    curve = []
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        optimizer.zero_grad()
        outputs = method(data.views, Step(0, epoch, epoch))
        outputs["loss"].backward()
        optimizer.step()
        curve.append({name: float(value.detach()) for name, value in outputs.items()})
    return curve


def test_the_loss_is_contrast_plus_weighted_prototype_loss(data):
    method = make(data, prototype_weight=0.5, encoder=encoder_for(data))
    outputs = method(data.views, Step(0, 0, 0))
    encoded = method.encoder.encode(data.views)
    coarse, fine = method.projector(encoded.coarse), method.projector(encoded.fine)
    codes = method.clusterings.labels
    differ = (codes[:, None] != codes[None]).sum(2).float()  # (n, n)
    scores = coarse @ fine.T / 0.5
    contrast = ((scores + differ.log()).logsumexp(1) - scores.diagonal()).mean()
    parts = []
    for m in range(2):
        logits = coarse @ method.clusterings.centroids[m].T / method.clusterings.concentrations[m]
        parts.append(torch.nn.functional.cross_entropy(logits, codes[:, m]))
    torch.testing.assert_close(outputs["contrast"], contrast)
    torch.testing.assert_close(outputs["prototype"], torch.stack(parts).mean())
    torch.testing.assert_close(outputs["loss"], contrast + 0.5 * torch.stack(parts).mean())


def test_it_learns_the_planted_classes_without_their_labels():
    data = planted_views(planted_graph(purity=0.95))
    probe = NodeProbe(lr=0.05, num_probes=5, num_steps=50)
    method = make(data, prototype_weight=0.1)
    before = probe.evaluate(method, data).summary()["10 micro_f1"]
    fit(method, data, 25, lr=0.005)
    after = probe.evaluate(method, data).summary()["10 micro_f1"]
    assert after >= 90
    assert after > before


@pytest.mark.parametrize(
    "arguments",
    [
        {"kmeans": "inner_product", "concentration": "similarity", "kmeans_restarts": 2},
        {"both_directions": True, "prototype_weight": 0.0},
        {"reconstruction_weight": 1.0},
        {"warmup_epochs": 2, "recluster_every": 2},
        {"loss": InfoNCE(0.5), "prototype_weight": 0.0},
    ],
    ids=["as-published", "both-directions", "reconstruction", "warm-up", "equal-weights"],
)
def test_every_variant_trains(arguments, data):
    curve = fit(make(data, **arguments), data, 8)
    assert curve[-1]["loss"] < curve[3]["loss"]
    assert curve[-1].keys() - curve[3].keys() == set()


@pytest.mark.parametrize("loss", [InfoNCE(0.5, label_smoothing=0.1), WeightedInfoNCE(0.5)])
def test_both_directions_are_the_mean_of_each(loss, data):
    method = make(data, loss=loss, both_directions=True, prototype_weight=0.0)
    method.clusterings.labels.random_(3, generator=torch.Generator().manual_seed(0))
    encoded = method.encoder.eval().encode(data.views)
    coarse, fine = method.projector(encoded.coarse), method.projector(encoded.fine)
    codes = (method.clusterings.labels,) if isinstance(loss, WeightedInfoNCE) else ()
    expected = (loss(coarse, fine, *codes) + loss(fine, coarse, *codes)) / 2
    found = method._contrast(coarse, fine, None, warming=False)
    torch.testing.assert_close(found, expected)
    assert not torch.isclose(loss(coarse, fine, *codes), expected, atol=1e-5)


def test_further_positives_need_their_loss():
    data = planted_views(num_positives=2)
    assert fit(make(data, loss=MultiPositiveInfoNCE(0.5)), data, 6)[-1]["loss"] < 10
    with pytest.raises(ValueError, match="this loss takes none"):
        make(data)
    plain = planted_views()
    with pytest.raises(ValueError, match=r"multi_positive_info_nce needs data\.num_positives above 0"):
        make(plain, loss=MultiPositiveInfoNCE(0.5))


def test_batches_and_their_encoder_are_refused():
    with pytest.raises(ValueError, match="data: gives batches of targets, this method takes the whole graph"):
        make(planted_batches())
    with pytest.raises(ValueError, match="encoder: expected metapath, which takes the whole graph, got Sampled"):
        make(planted_views(), encoder=sampled_encoder(planted_batches()))


def test_one_cluster_gives_further_positives_equal_weights():
    data = planted_views(num_positives=2)
    loss = MultiPositiveInfoNCE(0.5)
    method = make(data, loss=loss, num_clusters=(1,), prototype_weight=0.0, encoder=encoder_for(data))
    outputs = method(data.views, Step(0, 0, 0))
    encoded = method.encoder.encode(data.views)
    coarse, fine = method.projector(encoded.coarse), method.projector(encoded.fine)
    positive = torch.zeros(90, 90, dtype=torch.bool)
    positive[tuple(data.views.positives)] = True
    scores = coarse @ fine.T / 0.5
    negatives = scores.masked_fill(positive, -torch.inf).logsumexp(1)
    expected = (negatives - scores.masked_fill(~positive, -torch.inf).logsumexp(1)).mean()
    torch.testing.assert_close(outputs["loss"], expected)
    assert not method.clusterings.known


def test_warm_up_leaves_clusters_out(data):
    method = make(data, warmup_epochs=2)
    curve = fit(method, data, 3)
    assert [sorted(epoch.keys() & {"prototype"}) for epoch in curve] == [[], [], ["prototype"]]


def test_warm_up_weighs_all_other_nodes_alike(data):
    method = make(data, warmup_epochs=2, encoder=encoder_for(data))
    found = method(data.views, Step(0, 0, 0))["contrast"]
    encoded = method.encoder.encode(data.views)
    scores = method.projector(encoded.coarse) @ method.projector(encoded.fine).T / 0.5
    others = scores.masked_fill(torch.eye(90, dtype=torch.bool), -torch.inf).logsumexp(1)
    weight = torch.tensor(2.0)  # both clusterings tell every other node apart
    torch.testing.assert_close(found, (others - scores.diagonal()).mean() + weight.log())


def test_a_clustering_serves_so_many_epochs(data):
    method = make(data, recluster_every=3)
    seen = []
    for epochs in range(1, 5):
        clone = copy.deepcopy(method)
        fit(clone, data, epochs, lr=0.05)
        seen.append(clone.clusterings.labels)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])


def test_same_seed_same_curve_and_a_round_trip_gives_the_same_bits(data):
    first, second = make(data), make(data)
    assert fit(first, data, 5) != fit(make(data, prototype_weight=0.2), data, 5)
    assert fit(make(data), data, 5) == fit(second, data, 5)
    fresh = make(data)
    fresh.load_state_dict(second.state_dict())
    assert torch.equal(fresh.eval().encoder(data.views), second.eval().encoder(data.views))


def test_wrong_clusters_are_refused(data):
    for wrong, message in (
        ((), "expected at least one number of clusters"),
        ((91,), "expected from 1 to 90, the number of targets, got 91"),
        ((1,), "with one cluster everywhere no pair is told apart"),
    ):
        with pytest.raises(ValueError, match=f"num_clusters: {message}"):
            make(data, num_clusters=wrong)


@pytest.mark.parametrize("method", [MEOW, AdaMEOW])
def test_it_trains_in_bf16(method, data):
    if method is MEOW:
        made = make(data)
    else:
        made = AdaMEOW(data.spec, encoder_for(data, dropout=0.2), AdaptiveInfoNCE(16, 8, 0.7), embedding_dim=16)
    plain = copy.deepcopy(made)
    with torch.autocast("cpu", torch.bfloat16):
        curve = [outputs["loss"] for outputs in fit(made, data, 10)]
    assert curve[0] == pytest.approx(fit(plain, data, 1)[0]["loss"], rel=0.03)
    assert curve[-1] < curve[0] - 0.1
    assert all(parameter.dtype == torch.float32 for parameter in made.parameters())
