import pytest
import torch
from torch.nn import functional as F

from medgraph.data.node_metrics import auc, f1
from medgraph.evaluation.node_probe import Probe


def blobs(rng):
    labels = torch.arange(120) % 3
    features = F.one_hot(labels, 3).float() @ torch.randn(3, 6, generator=rng) + 0.8 * torch.randn(
        120, 6, generator=rng
    )
    return features, labels, torch.randperm(120, generator=rng).split([30, 45, 45])


def one_probe(features, labels, parts, weight, lr, decay, steps):
    """One probe by itself, scored after every step, as the protocol reads."""
    train, validation, test = parts
    layer = torch.nn.Linear(6, 3)
    layer.weight.data, layer.bias.data = weight.T.clone(), torch.zeros(3)
    optimizer = torch.optim.Adam(layer.parameters(), lr=lr, weight_decay=decay)
    best = {"macro": (-1.0, 0.0), "micro": (-1.0, 0.0, 0.0)}
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(layer(features[train]), labels[train]).backward()
        optimizer.step()
        with torch.no_grad():
            on_validation, on_test = layer(features[validation]), layer(features[test])
        macro, micro = (float(x) for x in f1(on_validation.argmax(1)[None], labels[validation], 3))
        test_macro, test_micro = (float(x) for x in f1(on_test.argmax(1)[None], labels[test], 3))
        if macro > best["macro"][0]:
            best["macro"] = (macro, test_macro)
        if micro > best["micro"][0]:
            best["micro"] = (micro, test_micro, float(auc(on_test.softmax(1)[None], labels[test])))
    found = {"macro_f1": best["macro"][1], "micro_f1": best["micro"][1], "auc": best["micro"][2]}
    return found | {"validation_macro_f1": best["macro"][0]}


def test_probes_together_equal_probes_alone(rng):
    features, labels, parts = blobs(rng)
    probe = Probe(lr=0.05, weight_decay=1e-3, num_probes=4, num_steps=30, seed=3)
    found = probe.run(features, labels, parts)
    for weight, together in zip(probe.first_weights(6, 3), found, strict=True):
        alone = one_probe(features, labels, parts, weight, 0.05, 1e-3, 30)
        assert together == pytest.approx({name: 100 * value for name, value in alone.items()})
    assert found[0]["micro_f1"] > 60


def test_a_probe_starts_the_same_whatever_their_number():
    few, many = (Probe(0.1, 0.0, count, 1, seed=2).first_weights(5, 3) for count in (2, 6))
    assert torch.equal(few, many[:2])
    bound = (6 / 8) ** 0.5
    assert few.abs().max() <= bound
    assert not torch.equal(many[0], many[1])
