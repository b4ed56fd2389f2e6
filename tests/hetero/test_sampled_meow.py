from dataclasses import replace

import pytest
import torch
from hetero.planted import encoder_for, planted_graph, planted_views
from hetero.whole import planted_batches, sampled_encoder, whole_views

from medgraph.evaluation.node_scores import NodeProbe
from medgraph.hetero.meow import MEOW
from medgraph.hetero.sampled_meow import SampledMEOW
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.given_weight_info_nce import GivenWeightInfoNCE
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.weighted_info_nce import WeightedInfoNCE
from medgraph.method import Step

BATCHES = range(30, 60), range(30)  # the second of an epoch, and the one before


def make(data, loss=None, encoder=None, **arguments) -> SampledMEOW:
    settings = {
        "embedding_dim": 16,
        "num_clusters": (4, 9),
        "kmeans_iterations": 5,
        "queue_size": 0,
        "bank_dtype": "float32",
        **arguments,
    }
    return SampledMEOW(data.spec, encoder or sampled_encoder(data), loss or GivenWeightInfoNCE(0.5), **settings)


def epoch(method, data, number=0, size=30, optimizer=None):
    """One epoch in order; the outputs of each step."""
    dataset = data.train()
    batches = [dataset.__getitems__(range(i, i + size)) for i in range(0, len(dataset), size)]
    method.train().on_epoch_start(Step(0, number, number * len(batches)), iter(batches))
    seen = []
    for index, batch in enumerate(batches):
        torch.manual_seed(number * len(batches) + index)
        outputs = method(batch, Step(0, number, number * len(batches) + index))
        if optimizer is not None:
            optimizer.zero_grad()
            outputs["loss"].backward()
            optimizer.step()
        seen.append(outputs)
    return seen


@pytest.mark.parametrize(
    ("settings", "tasks"),
    [
        ({}, {}),
        ({"masked_copies": False}, {}),
        ({"context": "none"}, {}),
        ({"transpose": False}, {}),
        ({}, {"both_directions": True, "reconstruction_weight": 0.3}),
    ],
)
def test_with_all_neighbours_the_whole_graph_and_no_queue_it_is_the_full_batch(settings, tasks):
    data = planted_batches(**settings)
    method = make(data, prototype_weight=0.5, **tasks)
    whole = MEOW(
        replace(data.spec, is_batched=False),
        encoder_for(data, norm="row"),
        WeightedInfoNCE(0.5),
        embedding_dim=16,
        num_clusters=(4, 9),
        kmeans_iterations=5,
        prototype_weight=0.5,
        **tasks,
    )
    state = {n: v for n, v in method.state_dict().items() if n in whole.state_dict()}
    whole.load_state_dict(state)
    expected = whole(whole_views(data.views), Step(0, 0, 0))
    order = torch.randperm(90).tolist()
    batch = data.train().__getitems__(order)
    method.on_epoch_start(Step(0, 0, 0), iter([batch]))
    found = method(batch, Step(0, 0, 0))
    for name in ("loss", "contrast", "prototype"):
        torch.testing.assert_close(found[name], expected[name], rtol=2e-5, atol=1e-5)
    expected["loss"].backward()
    found["loss"].backward()
    gradients = dict(method.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-3, atol=2e-6, msg=name)


def test_it_learns_the_planted_classes_from_samples():
    data = planted_batches(planted_graph(purity=0.95), fan_out=(6, 4), context_fan_out=2)
    probe = NodeProbe(lr=0.05, num_probes=5, num_steps=50)
    method = make(data, prototype_weight=0.1, queue_size=60)
    before = probe.evaluate(method, data).summary()["10 micro_f1"]
    optimizer = torch.optim.Adam(method.parameters(), lr=0.005)
    for number in range(12):
        epoch(method, data, number, optimizer=optimizer)
    after = probe.evaluate(method, data).summary()["10 micro_f1"]
    assert after >= 90
    assert after > before


def test_keys_of_the_queue_weigh_by_the_clusters_of_their_nodes():
    data = planted_batches()
    method = make(data, prototype_weight=0.0, queue_size=40)
    first, second = epoch(method, data)[:2]
    assert first.keys() - second.keys() == set()
    assert len(method.queue) == 40
    batch = data.train().__getitems__(range(30, 60))
    method.queue._num_pushed.fill_(30)  # as it stood before the second batch
    method.queue._vectors[:30] = method.bank.vectors(torch.arange(30))
    method.queue._ids[:30] = torch.arange(30)
    encoded = method.encoder.encode(batch.sample(0, 0))
    coarse, fine = method.projector(encoded.coarse), method.projector(encoded.fine)
    old = method.bank.vectors(torch.arange(29, -1, -1))
    keys = torch.cat([fine, torch.nn.functional.normalize(old + fine.mean(0) - old.mean(0), dim=1)])
    codes = method.clusterings.labels
    differ = (codes[30:60, None] != codes[None, [*range(30, 60), *range(29, -1, -1)]]).sum(2).float()
    scores = coarse @ keys.T / 0.5
    expected = ((scores + differ.log()).logsumexp(1) - scores.diagonal()).mean()
    torch.testing.assert_close(second["contrast"], expected, rtol=1e-5, atol=1e-5)


def test_warm_up_weighs_all_other_nodes_alike_and_leaves_clusters_out():
    data = planted_batches()
    method = make(data, warmup_epochs=1, num_clusters=(4, 9), queue_size=30)
    outputs = epoch(method, data, 0)[1]
    encoded, past = (method.encoder.encode(data.train().__getitems__(ids).sample(0, 0)) for ids in BATCHES)
    coarse, fine, old = (method.projector(x) for x in (encoded.coarse, encoded.fine, past.fine.flip(0)))
    keys = torch.cat([fine, torch.nn.functional.normalize(old + fine.mean(0) - old.mean(0), dim=1)])
    scores = coarse @ keys.T / 0.5
    others = scores.masked_fill(torch.eye(30, 60, dtype=torch.bool), -torch.inf).logsumexp(1)
    weight = torch.tensor(2.0)  # both clusterings tell every other node apart
    torch.testing.assert_close(outputs["contrast"], (others - scores.diagonal()).mean() + weight.log())
    assert "prototype" not in outputs
    assert not method.clusterings.known
    assert "prototype" in epoch(method, data, 1)[0]
    assert method.clusterings.known


def test_equal_weights_need_no_clusters():
    data = planted_batches()
    method = make(data, InfoNCE(0.5), prototype_weight=0.0)
    outputs = epoch(method, data)[0]
    encoded = method.encoder.encode(data.train().__getitems__(range(30)).sample(0, 0))
    expected = InfoNCE(0.5)(method.projector(encoded.coarse), method.projector(encoded.fine))
    assert not method.clusterings.known
    torch.testing.assert_close(outputs["loss"], expected)


def test_a_clustering_serves_so_many_epochs():
    data = planted_batches(fan_out=(5, 5))
    method, labels = make(data, recluster_every=2), []
    optimizer = torch.optim.Adam(method.parameters(), lr=0.05)
    for number in range(3):
        epoch(method, data, number, optimizer=optimizer)
        labels.append(method.clusterings.labels.clone())
    assert torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[1], labels[2])


def test_same_seed_same_curve_whatever_was_sampled_before():
    data = planted_batches(fan_out=(4, 3), context_fan_out=1)
    curves = [[step["loss"].item() for step in epoch(make(data), data)] for _ in range(2)]
    assert curves[0] == curves[1]
    again = [step["loss"].item() for step in epoch(make(planted_batches(fan_out=(4, 3), context_fan_out=1)), data)]
    assert again == curves[0]


def test_speed_is_logged_from_the_second_step_on():
    data = planted_batches()
    steps = epoch(make(data), data)
    assert ["nodes_per_second" in step for step in steps] == [False, True, True]
    assert steps[1]["nodes_per_second"] > 0


def test_wrong_settings_are_refused():
    data = planted_batches()
    for wrong, message in (
        ({"loss": AdaptiveInfoNCE(16)}, "loss: expected given_weight_info_nce or info_nce, got AdaptiveInfoNCE"),
        (
            {"encoder": encoder_for(data)},
            "encoder: expected metapath_sampled, which takes batches of targets, got MetapathEncoder",
        ),
        ({"num_clusters": (91,)}, r"num_clusters: expected numbers from 1 to 90, the targets, got \(91,\)"),
        ({"num_clusters": ()}, "num_clusters: expected numbers from 1 to 90"),
        ({"num_clusters": (1,)}, "num_clusters: with one cluster everywhere"),
        ({"queue_size": -1}, "queue_size: expected 0 or more"),
        ({"queue_size": 8, "both_directions": True}, "both_directions: expected queue_size 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(data, **wrong)
    with pytest.raises(
        ValueError, match="data: gives the whole graph, this method takes batches of targets; use metapath"
    ):
        make(planted_views(), encoder=sampled_encoder(data))
