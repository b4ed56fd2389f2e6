"""ClassPairGates: equal to a loop that gates every vector, gradient of the gate included."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients
from reference.losses_relational import loop_class_pair_gates

from medgraph.losses import ClassPairGates, SupCon, class_pair_gates
from medgraph.losses.pairs.rows import map_rows

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 3, 0])
TARGETS = torch.tensor([1, 1, 0, 0, 2, 0, 3, 3])  # 3 has one member: no positive for itself, one for others


def made(reduction="pair"):
    torch.manual_seed(3)
    return ClassPairGates(4, 3, hidden_dim=5, temperature=0.5, reduction=reduction).double()


@pytest.mark.parametrize("reduction", ["pair", "mean", "sum"])
@pytest.mark.parametrize("block", [1, 3, 256])
def test_equals_loop(reduction, block, rng, monkeypatch):
    monkeypatch.setattr(class_pair_gates, "map_rows", lambda *args: map_rows(*args, block=block))
    x, loss = torch.randn(8, 3, generator=rng, dtype=torch.float64), made(reduction)

    def with_gates(function):
        def run(z, weight):
            return function(z, torch.func.functional_call(loss, {"classes.weight": weight}, (z, LABELS, TARGETS)))

        return run

    def slow(z, weight):
        mixed = (weight[LABELS] + weight[TARGETS]) / 2
        gates = torch.sigmoid(loss.perceptron(mixed))
        return loop_class_pair_gates(z, LABELS.tolist(), TARGETS.tolist(), gates, 0.5, reduction)

    assert_equal_with_gradients(with_gates(lambda z, value: value), slow, x, loss.classes.weight)


def test_open_gates_are_supcon_per_positive(rng):
    x, loss = torch.randn(8, 3, generator=rng, dtype=torch.float64), made("mean")
    torch.nn.init.zeros_(loss.perceptron[2].weight)  # every gate 0.5 or so, alike for all classes
    torch.nn.init.zeros_(loss.perceptron[2].bias)
    torch.testing.assert_close(loss(x, LABELS, LABELS), SupCon(0.5, "per_positive")(x, LABELS))


def test_gradcheck(rng):
    x, loss = torch.randn(6, 3, generator=rng, dtype=torch.float64).requires_grad_(), made()
    assert torch.autograd.gradcheck(lambda z: loss(z, LABELS[:6], TARGETS[:6]), x)


def test_order_of_the_two_classes_does_not_matter_to_the_gate():
    loss = made()
    torch.testing.assert_close(loss.gates(LABELS, TARGETS), loss.gates(TARGETS, LABELS))


def test_no_negative_gives_zero_with_a_graph(rng):
    x, loss = torch.randn(4, 3, generator=rng, dtype=torch.float64).requires_grad_(), made()
    same = torch.zeros(4, dtype=torch.long)
    with pytest.warns(UserWarning, match="all 4 anchors have no positive or no negative"):
        value = loss(x, same, same)
    value.backward()
    assert value.item() == 0
    assert (x.grad == 0).all()


def test_refuses_wrong_settings_and_labels():
    with pytest.raises(ValueError, match="num_classes: expected 1 or more"):
        ClassPairGates(0, 3)
    with pytest.raises(ValueError, match="targets: expected classes from 0 to 3, got 0 to 4"):
        made()(torch.ones(2, 3).double(), torch.tensor([0, 1]), torch.tensor([0, 4]))
