import copy

import pytest
import torch
from torch import nn

from medgraph.runner.committee import Committee


class Model(nn.Module):
    size = (4, 4)

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def predict(self, images):
        return self.head(images)


def models(number):
    return [Model() for _ in range(number)]


def test_of_classes_probabilities_are_averaged_and_of_numbers_the_answers(rng):
    images, members = torch.randn(6, 3, generator=rng) * 5, models(3)
    probabilities = torch.stack([model.predict(images).softmax(dim=1) for model in members]).mean(dim=0)
    answer = Committee(members, numbers=False).predict(images)
    torch.testing.assert_close(answer.softmax(dim=1), probabilities)
    torch.testing.assert_close(answer.exp(), probabilities)  # they sum to one as they are
    numbers = torch.stack([model.predict(images) for model in members]).mean(dim=0)
    torch.testing.assert_close(Committee(members, numbers=True).predict(images), numbers)
    assert not answer.requires_grad


def test_whatever_else_is_asked_the_first_member_answers():
    committee = copy.deepcopy(Committee(models(2), numbers=False))
    assert committee.size == (4, 4)
    assert committee.head is committee.models[0].head
    assert not hasattr(committee, "context")
    assert len(committee.state_dict()) == 4  # nothing twice


def test_refuses_to_be_empty():
    with pytest.raises(ValueError, match="models: expected at least one, got none"):
        Committee([], numbers=False)
