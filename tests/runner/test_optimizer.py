import pytest
import torch

from medgraph.runner.optimizer import SGD, AdamW


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
