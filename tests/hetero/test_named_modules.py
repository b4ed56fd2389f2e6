import copy

import numpy as np
import pytest
import torch
from hetero.planted import PlantedSource
from torch import nn

from medgraph.data.graphs import make_graph
from medgraph.hetero.encoder import MetapathEncoder
from medgraph.hetero.named_modules import NamedModules
from medgraph.hetero.views import MetapathViews

NAMES = ["paper", "lab.test", "type", "keys", "values", "pop", "forward", "training", "", "%type", "%", "a%2Eb", "ä b"]


def test_any_name_is_a_key_and_comes_back():
    modules = NamedModules({name: nn.Linear(1, 1) for name in NAMES})
    assert list(modules) == list(modules.keys()) == [name for name, _ in modules.items()] == NAMES
    assert all(modules[name] is module for name, module in modules.items())
    assert len({name.rsplit(".", 1)[0] for name in modules.state_dict()}) == len(NAMES)
    assert "type" in modules
    assert "lab" not in modules
    del modules["type"]
    assert "type" not in modules
    assert list(copy.deepcopy(modules)) == [name for name in NAMES if name != "type"]


def test_names_that_torch_takes_are_those_of_the_parameters():
    names = ["paper", "pap", "paper-author-paper", "pap (to, rev_to)", "a%2Eb"]
    plain = nn.ModuleDict({name: nn.Linear(1, 1) for name in names})
    assert list(NamedModules(plain).state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("name", ["lab.test", "type", "forward"])
def test_a_graph_may_name_its_types_and_relations_as_it_likes(name):
    edges = np.array([[0, 1, 2, 3], [0, 0, 1, 1]])
    graph = make_graph("keys", {"keys": 4, name: 2}, {("keys", "in.x", name): edges}, {"keys": np.eye(4)})
    data = MetapathViews(PlantedSource(graph), top_k=(4,))
    encoder = MetapathEncoder(data.spec, dim=4)
    again = MetapathEncoder(data.spec, dim=4)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.eval()(data.views), encoder.eval()(data.views))
