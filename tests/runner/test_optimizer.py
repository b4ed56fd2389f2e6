import pytest
import torch

from medgraph.runner.optimizer import SGD, Adam, AdamW


def test_biases_and_norms_do_not_decay():
    layer = torch.nn.Linear(3, 2)
    groups = AdamW(lr=0.1, weight_decay=0.5).make([{"params": list(layer.parameters())}]).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.5), (1, 0.0)]


def test_lr_scale_multiplies_the_peak_rate():
    layer = torch.nn.Linear(3, 2)
    groups = SGD(lr=0.2).make([{"params": [layer.weight], "lr_scale": 0.5}]).param_groups
    assert groups[0]["lr"] == groups[0]["peak_lr"] == pytest.approx(0.1)


@pytest.mark.parametrize("made", [AdamW, SGD])
def test_learning_rate_must_be_positive(made):
    with pytest.raises(ValueError, match="lr: expected a number above 0, got -1"):
        made(lr=-1.0)


def test_adam_scales_groups_and_decays_everything():
    weight, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = Adam(lr=0.1, weight_decay=0.5).make([{"params": [weight]}, {"params": [bias], "lr_scale": 0.1}])
    assert [group["peak_lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01])
    weight.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()  # with decay in the gradient alone, Adam's first step is lr in size
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.9))
    torch.testing.assert_close(bias.detach(), torch.full((2,), 0.99))
