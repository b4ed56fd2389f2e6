from dataclasses import replace

import pytest
import torch
from hetero.planted import encoder_for, planted_views
from sklearn.metrics import f1_score

from medgraph.hetero.labelled_nodes import LabelledNodes
from medgraph.hetero.node_classification import NodeClassification
from medgraph.method import Step


@pytest.fixture
def labelled():
    return LabelledNodes(planted_views(masked_copies=False))


def classifier(data, **arguments):
    encoder = encoder_for(data, dropout=0.3)
    return NodeClassification(data.spec, encoder, **arguments)


def test_only_labels_of_the_training_targets_reach_the_gradient(labelled):
    example = labelled.train().example
    other = replace(example, validation_labels=example.validation_labels.roll(1))
    gradients = []
    for batch in (example, other):
        torch.manual_seed(0)
        method = classifier(labelled)
        method(batch, Step(0, 0, 0))["loss"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]))
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0


def test_the_loss_is_cross_entropy_of_the_labelled_targets(labelled):
    method, example = classifier(labelled).eval(), labelled.train().example
    outputs = method(example, Step(0, 0, 0))
    log_shares = method.logits(example.views)[example.nodes].log_softmax(1)
    expected = -log_shares[torch.arange(len(example)), example.labels].mean()
    torch.testing.assert_close(outputs["loss"], expected)
    assert 0 <= outputs["accuracy"] <= 1


def test_the_validation_error_is_macro_f1_of_a_clean_pass(labelled):
    method, example = classifier(labelled), labelled.train().example
    error = method.validation_error(iter([example]))
    assert method.training  # as before
    assert error == method.validation_error(iter([example]))  # no dropout
    predicted = method.eval().logits(example.views)[example.validation_nodes].argmax(1)
    assert error == pytest.approx(1 - f1_score(example.validation_labels, predicted, average="macro"))


def test_it_learns_the_planted_classes(labelled):
    method, example = classifier(labelled), labelled.train().example
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    before = method.validation_error([example])
    for epoch in range(30):
        optimizer.zero_grad()
        method(example, Step(0, epoch, epoch))["loss"].backward()
        optimizer.step()
    assert method.validation_error([example]) < min(before, 0.2)


def test_the_encoder_has_its_own_learning_rate(labelled):
    encoder, head = classifier(labelled, encoder_lr_scale=0.1).parameter_groups()
    assert (encoder["lr_scale"], len(head["params"])) == (0.1, 2)


def test_wrong_arguments(labelled):
    with pytest.raises(ValueError, match="spec: the graph has 1 classes of targets, expected 2 or more"):
        NodeClassification(replace(labelled.spec, num_classes=1), encoder_for(labelled))
    with pytest.raises(ValueError, match="encoder_lr_scale: expected a number above 0"):
        classifier(labelled, encoder_lr_scale=0.0)
