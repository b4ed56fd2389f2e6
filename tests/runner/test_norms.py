import warnings

import pytest
import torch
from reference.sepclr_parts import method
from torch import nn

from medgraph.runner.norms import share_norms


def synchronised(model):
    return [isinstance(m, nn.SyncBatchNorm) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_processes_on_gpus_share_statistics_and_keep_weights_and_names():
    model = method()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = {id(p) for p in model.parameters()}
    share_norms(model, torch.device("cuda"), 2)
    assert len(synchronised(model)) == 4
    assert all(synchronised(model))
    assert {id(p) for p in model.parameters()} == parameters
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_one_process_and_models_without_batch_norm_are_left_alone():
    model = method()
    share_norms(model, torch.device("cuda"), 1)
    assert not any(synchronised(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        share_norms(nn.Sequential(nn.Linear(2, 2)), torch.device("cpu"), 2)


def test_processes_on_a_cpu_are_warned():
    model = method()
    with pytest.warns(UserWarning, match="on a CPU each of 2 processes takes its own statistics"):
        share_norms(model, torch.device("cpu"), 2)
    assert not any(synchronised(model))
