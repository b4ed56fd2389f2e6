import pytest
import torch
from torch import nn

from medgraph.runner.larc import LARC


def test_a_step_equals_the_formula(rng):
    weight = nn.Parameter(torch.randn(3, 4, generator=rng, dtype=torch.float64))
    w, velocity = weight.detach().clone(), torch.zeros(3, 4, dtype=torch.float64)
    optimizer = LARC(lr=0.2, momentum=0.9, weight_decay=0.01, trust=0.05).make([{"params": [weight]}])
    for _ in range(3):
        gradient = torch.randn(3, 4, generator=rng, dtype=torch.float64)
        weight.grad = gradient.clone()
        optimizer.step()
        scaled = 0.05 * w.norm() / (gradient.norm() + 0.01 * w.norm()) * (gradient + 0.01 * w)
        velocity = 0.9 * velocity + scaled
        w = w - 0.2 * velocity
        torch.testing.assert_close(weight.detach(), w, rtol=1e-12, atol=0)


def test_the_size_of_the_gradient_does_not_matter(rng):
    gradient, moved = torch.randn(5, 5, generator=rng), []
    for factor in (1e-3, 1e3):
        weight = nn.Parameter(torch.ones(5, 5))
        weight.grad = factor * gradient
        LARC(lr=1.0, weight_decay=0.0).make([{"params": [weight]}]).step()
        moved.append((weight.detach() - 1).norm())
    torch.testing.assert_close(moved[0], moved[1])
    torch.testing.assert_close(moved[0], torch.tensor(0.001 * 5.0))  # trust times the norm of 25 ones


def test_zeros_are_left_unscaled_and_biases_undecayed():
    zeros, bias = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2))
    zeros.grad, bias.grad = torch.ones(2, 2), torch.zeros(2)
    optimizer = LARC(lr=0.1, weight_decay=0.5).make([{"params": [zeros, bias], "lr_scale": 0.5}])
    assert [group["peak_lr"] for group in optimizer.param_groups] == [0.05, 0.05]
    optimizer.step()
    torch.testing.assert_close(zeros.detach(), torch.full((2, 2), -0.05))
    assert torch.equal(bias.detach(), torch.ones(2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr": 0.0}, "lr: expected a number above 0"),
        ({"trust": 0.0}, "trust: expected a number above 0"),
        ({"momentum": 1.0}, "momentum: expected a number from 0.0 to 0.99999"),
        ({"weight_decay": -1.0}, "weight_decay: expected"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        LARC(**arguments)
