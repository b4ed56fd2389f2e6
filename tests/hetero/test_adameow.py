import pytest
import torch
from hetero.planted import encoder_for, planted_views
from hetero.test_meow import fit

from medgraph.hetero.adameow import AdaMEOW, mean_weight
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.info_nce import InfoNCE
from medgraph.method import Step


def make(data, norm="none", **arguments) -> AdaMEOW:
    encoder = encoder_for(data, dropout=0.2)
    loss = AdaptiveInfoNCE(16, 8, 0.7, weight_norm=norm, pair_input="sum")
    return AdaMEOW(data.spec, encoder, loss, embedding_dim=16, **arguments)


@pytest.mark.parametrize("norm", ["none", "row_mean"])
def test_the_loss_weighs_every_pair_by_its_network(norm, data):
    method = make(data, norm).eval()
    loss = method(data.views, Step(0, 1, 1))["loss"]
    encoded = method.encoder.encode(data.views)
    coarse, fine = method.projector(encoded.coarse), method.projector(encoded.fine)
    network = torch.nn.Sequential(method.loss.of_queries, torch.nn.Tanh(), method.loss.score, torch.nn.Sigmoid())
    weights = network(fine[:, None] + coarse[None]).squeeze(2)  # (n, n), the one pair's own weight included
    off = ~torch.eye(90, dtype=torch.bool)
    torch.testing.assert_close(mean_weight(method.loss, fine, coarse), weights[off].mean())
    if norm == "row_mean":
        weights = weights / ((weights * off).sum(1, keepdim=True) / 89)
        torch.testing.assert_close(weights[off].mean(), torch.tensor(1.0))
    scores = fine @ coarse.T / 0.7
    expected = -(scores.diagonal().exp() / (weights * scores.exp()).sum(1)).log().mean()
    torch.testing.assert_close(loss, expected)


def test_free_weights_slide_down(data):
    method = make(data).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    seen = []
    for epoch in range(50):
        torch.manual_seed(epoch)
        optimizer.zero_grad()
        outputs = method(data.views, Step(0, 10 * epoch, epoch))  # every tenth epoch tells the mean weight
        outputs["loss"].backward()
        optimizer.step()
        seen.append(float(outputs["mean_weight"]))
    assert sum(seen[40:]) / 10 < 0.9 * sum(seen[:10]) / 10


def test_normalised_weights_do_not_see_a_constant(data):
    method = make(data, norm="row_mean").eval()
    network = method.loss.score
    torch.nn.init.constant_(network.bias, -30.0)  # sigmoid is an exponential here, so the bias is a constant factor
    first = method(data.views, Step(0, 1, 1))["loss"]
    torch.nn.init.constant_(network.bias, -31.0)
    torch.testing.assert_close(method(data.views, Step(0, 1, 1))["loss"], first)


@pytest.mark.parametrize("arguments", [{"both_directions": True}, {"reconstruction_weight": 0.5}])
def test_every_variant_trains(arguments, data):
    curve = fit(make(data, **arguments), data, 10)
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_wrong_losses_are_refused(data):
    encoder = encoder_for(data)
    with pytest.raises(ValueError, match="loss: expected adaptive_info_nce, got InfoNCE"):
        AdaMEOW(data.spec, encoder, InfoNCE())
    with pytest.raises(ValueError, match="loss: dim is 8, expected embedding_dim, 16"):
        AdaMEOW(data.spec, encoder, AdaptiveInfoNCE(8), embedding_dim=16)
    positives = planted_views(num_positives=2)
    with pytest.raises(ValueError, match=r"data.num_positives: AdaMEOW takes none"):
        make(positives)
