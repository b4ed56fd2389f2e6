import pytest
import torch
from torch import nn

from medgraph.runner.average import Average


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.fixed = nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("bank", torch.zeros(4))


def test_it_follows_weights_and_statistics_but_no_bank():
    names = set(Average(Net(), 0.9).tensors)
    assert names == {
        "linear.weight",
        "linear.bias",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
    }


def test_it_equals_the_formula():
    net = Net()
    average = Average(net, 0.5)
    expected = net.linear.weight.detach().double()
    for step in range(12):
        with torch.no_grad():
            net.linear.weight.add_(1.0)
        average.update(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net.linear.weight.detach().double()
    torch.testing.assert_close(average.tensors["linear.weight"].double(), expected, rtol=1e-6, atol=1e-6)


def test_trained_weights_come_back_to_the_last_bit():
    net = Net()
    average = Average(net, 0.5)
    with torch.no_grad():
        net.linear.weight.add_(1.0)
    trained = net.linear.weight.detach().clone()
    with average.in_place(net):
        assert torch.equal(net.linear.weight, average.tensors["linear.weight"])
    assert torch.equal(net.linear.weight, trained)


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match="ema: expected"):
        Average(Net(), 1.0)
