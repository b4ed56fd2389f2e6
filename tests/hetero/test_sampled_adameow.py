from dataclasses import replace

import pytest
import torch
from hetero.planted import encoder_for, planted_graph, planted_views
from hetero.test_sampled_meow import epoch
from hetero.whole import planted_batches, sampled_encoder, whole_views

from medgraph.evaluation.node_scores import NodeProbe
from medgraph.hetero.adameow import AdaMEOW
from medgraph.hetero.sampled_adameow import SampledAdaMEOW
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.info_nce import InfoNCE
from medgraph.method import Step


def make(data, loss=None, encoder=None, **arguments) -> SampledAdaMEOW:
    loss = loss or AdaptiveInfoNCE(16, 8, 0.5, pair_input="sum")
    settings = {"embedding_dim": 16, "queue_size": 0, "queue_dtype": "float32", **arguments}
    return SampledAdaMEOW(data.spec, encoder or sampled_encoder(data), loss, **settings)


@pytest.mark.parametrize("tasks", [{}, {"both_directions": True, "reconstruction_weight": 0.3}])
@pytest.mark.parametrize("weight_norm", ["none", "row_mean"])
def test_with_all_neighbours_the_whole_graph_and_no_queue_it_is_the_full_batch(weight_norm, tasks):
    data = planted_batches()
    method = make(data, AdaptiveInfoNCE(16, 8, 0.5, weight_norm, "sum"), **tasks)
    loss = AdaptiveInfoNCE(16, 8, 0.5, weight_norm, "sum")
    whole = AdaMEOW(
        replace(data.spec, is_batched=False), encoder_for(data, norm="row"), loss, embedding_dim=16, **tasks
    )
    whole.load_state_dict({n: v for n, v in method.state_dict().items() if n in whole.state_dict()})
    expected = whole(whole_views(data.views), Step(0, 1, 1))["loss"]
    found = method(data.train().__getitems__(torch.randperm(90).tolist()), Step(0, 1, 1))["loss"]
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-5)
    expected.backward()
    found.backward()
    gradients = dict(method.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-3, atol=2e-6, msg=name)


def test_it_learns_the_planted_classes_from_samples():
    data = planted_batches(planted_graph(purity=0.95), fan_out=(6, 4), context_fan_out=2)
    probe = NodeProbe(lr=0.05, num_probes=5, num_steps=50)
    method = make(data, AdaptiveInfoNCE(16, 8, 0.5, "row_mean", "sum"), queue_size=60)
    before = probe.evaluate(method, data).summary()["10 micro_f1"]
    optimizer = torch.optim.Adam(method.parameters(), lr=0.005)
    for number in range(12):
        epoch(method, data, number, optimizer=optimizer)
    after = probe.evaluate(method, data).summary()["10 micro_f1"]
    assert after >= 85
    assert after > before


def test_the_queue_holds_past_coarse_embeddings_as_further_keys():
    data = planted_batches()
    method = make(data, queue_size=40)
    first = epoch(method, data)[1]["loss"]
    assert len(method.queue) == 40
    batch = data.train().__getitems__(range(30, 60))
    encoded = method.encoder.encode(batch.sample(0, 0))
    fine, coarse = method.projector(encoded.fine), method.projector(encoded.coarse)
    past = method.projector(method.encoder.encode(data.train().__getitems__(range(30)).sample(0, 0)).coarse)
    moved = torch.nn.functional.normalize(past.flip(0) + coarse.mean(0) - past.mean(0), dim=1)
    torch.testing.assert_close(first, method.loss(fine, torch.cat([coarse, moved])))


def test_wrong_settings_are_refused():
    data = planted_batches()
    for wrong, message in (
        ({"loss": InfoNCE()}, "loss: expected adaptive_info_nce, got InfoNCE"),
        ({"loss": AdaptiveInfoNCE(8)}, "loss: dim is 8, expected embedding_dim, 16"),
        ({"encoder": encoder_for(data)}, "encoder: expected metapath_sampled"),
        ({"queue_dtype": "int8"}, "queue_dtype: expected one of"),
        ({"queue_size": 8, "both_directions": True}, "both_directions: expected queue_size 0"),
        ({"reconstruction_weight": -1.0}, "reconstruction_weight: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            make(data, **wrong)
    with pytest.raises(
        ValueError, match="data: gives the whole graph, this method takes batches of targets; use metapath"
    ):
        make(planted_views(), encoder=sampled_encoder(data))
