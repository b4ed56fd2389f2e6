"""RelationalDistillation: equal to a loop; a student like its teacher has no gradient."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients
from reference.losses_relational import loop_distillation

from medgraph.losses import RelationalDistillation, pairs


@pytest.mark.parametrize("measure", ["softmax", "score"])
@pytest.mark.parametrize("tile", [0, 1, 7])
def test_equals_loop(measure, tile, rng, monkeypatch):
    if tile:
        for module in (pairs.lse, pairs.sum):
            monkeypatch.setattr(module, "DENSE_BELOW", 0)
            monkeypatch.setattr(module, "tile_size", lambda *_: tile)
    student, teacher = (torch.randn(8, d, generator=rng, dtype=torch.float64) for d in (3, 5))
    loss = RelationalDistillation(0.5, 0.2, measure)
    assert_equal_with_gradients(
        lambda x: loss(x, teacher), lambda x: loop_distillation(x, teacher, 0.5, 0.2, measure), student
    )


@pytest.mark.parametrize("measure", ["softmax", "score"])
def test_the_teacher_is_the_optimum_and_receives_no_gradient(measure, rng):
    student, teacher = (torch.randn(8, 4, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    RelationalDistillation(measure=measure)(student, student.detach()).backward()
    assert student.grad.abs().max() < 1e-12
    RelationalDistillation(measure=measure)(student, teacher).backward()
    assert student.grad.abs().max() > 1e-3
    assert teacher.grad is None


@pytest.mark.parametrize("measure", ["softmax", "score"])
def test_gradcheck(measure, rng):
    student, teacher = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    loss = RelationalDistillation(0.5, measure=measure)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student.requires_grad_())


@pytest.mark.parametrize("measure", ["softmax", "score"])
def test_a_single_example_gives_zero_with_a_graph(measure):
    x = torch.ones(1, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="all 1 anchors have no other example"):
        loss = RelationalDistillation(measure=measure)(x, torch.ones(1, 3))
    loss.backward()
    assert (x.grad == 0).all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="measure: expected one of 'softmax', 'score'"):
        RelationalDistillation(measure="rank")
    with pytest.raises(ValueError, match="teacher_temperature: expected a number above 0"):
        RelationalDistillation(teacher_temperature=0.0)
