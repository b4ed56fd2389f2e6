"""Unit rows that were checked, reduction over valid anchors, stats on request."""

import pytest
import torch

from medgraph.losses import anchors
from medgraph.losses.anchors import ContrastiveLoss, paired, unit, units
from medgraph.losses.info_nce import InfoNCE


def reducing(how):
    loss = ContrastiveLoss()
    loss.reduction = how
    return loss


@pytest.mark.parametrize(
    ("how", "expected", "gradient"),
    [("mean", 2.5, [0.5, 0.0, 0.5]), ("sum", 5.0, [1.0, 0.0, 1.0]), ("pair", 3.25, [0.25, 0.0, 0.75])],
)
def test_invalid_anchors_are_left_out_of_value_and_gradient(how, expected, gradient):
    values, valid = torch.tensor([1.0, torch.inf, 4.0], requires_grad=True), torch.tensor([True, False, True])
    found = reducing(how).reduce(values, valid, "positive", torch.tensor([1.0, 0.0, 3.0]))
    found.backward()
    assert found.item() == expected
    assert values.grad.tolist() == gradient


def test_none_keeps_one_value_per_anchor():
    values, valid = torch.tensor([1.0, torch.inf, 4.0]), torch.tensor([True, False, True])
    assert reducing("none").reduce(values, valid, "positive").tolist() == [1.0, 0.0, 4.0]


@pytest.mark.parametrize("how", ["mean", "sum", "pair"])
def test_no_valid_anchor_warns_and_keeps_the_graph(how):
    values = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="all 2 anchors have no positive: the loss of this batch is 0"):
        mean = reducing(how).reduce(values, torch.tensor([False, False]), "positive", torch.zeros(2))
    mean.backward()
    assert mean.item() == 0
    assert (values.grad == 0).all()


def test_unit_rows_of_half_precision_are_float32():
    assert unit(torch.ones(2, 4, dtype=torch.float16)).dtype == torch.float32
    torch.testing.assert_close(unit(torch.ones(2, 4)), torch.full((2, 4), 0.5))


def test_unit_equals_torch(rng):
    x = torch.randn(3, 4, generator=rng)
    x[1] = 0
    exact = torch.nn.functional.normalize(x.double(), dim=1)
    torch.testing.assert_close(unit(x).double(), exact, rtol=1.2e-7, atol=0)


def test_a_row_whose_squares_overflow_has_length_one():
    torch.testing.assert_close(unit(torch.tensor([[3e30, 4e30]])), torch.tensor([[0.6, 0.8]]))


def test_the_gradient_of_a_row_is_at_right_angles_to_it(rng):
    x = torch.randn(5, 64, generator=rng).requires_grad_()
    z = unit(x)
    along = z.detach() + 1e-3 * torch.randn(5, 64, generator=rng)  # nearly all of it points along the row
    (gradient,) = torch.autograd.grad(z, x, along)
    wide = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(torch.nn.functional.normalize(wide, dim=1), wide, along.double())
    assert (gradient - exact).norm() < 2e-5 * exact.norm()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_names_the_rows_that_are_not_finite(value):
    x = torch.ones(4, 2)
    x[2, 1] = value
    with pytest.raises(ValueError, match="keys: NaN or infinity in 1 of 4 embeddings, rows 2; check the encoder"):
        units(queries=torch.ones(4, 2), keys=x)


def test_names_what_does_not_fit():
    with pytest.raises(TypeError, match=r"queries: expected floating-point embeddings, got torch.int64"):
        units(queries=torch.ones(4, 2).long())
    with pytest.raises(ValueError, match=r"queries: expected shape \(examples, dim\), got \(4,\)"):
        units(queries=torch.ones(4))
    with pytest.raises(ValueError, match=r"queries: expected shape \(examples, dim\), got \(2, 4, 2\)"):
        units(queries=torch.ones(2, 4, 2))
    with pytest.raises(ValueError, match="expected the same width, got queries: 2, keys: 3"):
        units(queries=torch.ones(4, 2), keys=torch.ones(4, 3))
    with pytest.raises(ValueError, match="expected the same length, got first: 4, second: 5"):
        paired(first=torch.ones(4, 2), second=torch.ones(5, 2))


def test_stats_describe_one_batch_and_leave_nothing_behind(rng):
    queries, keys = torch.randn(2, 5, 3, generator=rng)
    loss = InfoNCE()
    found = loss.stats(queries, keys)
    assert found["anchors"] == found["valid"] == 5
    assert found["mean"] == pytest.approx(loss(queries, keys).item())
    assert found["min"] < found["mean"] < found["max"]
    assert found["denominator"] - found["positive"] == pytest.approx(found["mean"], abs=1e-5)
    assert not loss.collecting
    assert anchors._stats.get() is None


def test_stats_leave_nothing_behind_after_an_error():
    with pytest.raises(ValueError, match="2 queries need at least 2 keys"):
        InfoNCE().stats(torch.ones(2, 3), torch.ones(1, 3))
    assert not InfoNCE().collecting
