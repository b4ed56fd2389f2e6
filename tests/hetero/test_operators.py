import pytest
import scipy.sparse as sp
import torch

from medgraph.hetero.operators import Chain, Mean, SparseOperator


def random(rows, columns, seed):
    return SparseOperator(sp.random(rows, columns, 0.4, random_state=seed, format="csr"))


@pytest.mark.parametrize(
    "operator",
    [random(5, 7, 1), Chain([random(5, 4, 2), random(4, 7, 3)]), Mean([random(5, 7, 4), random(5, 7, 5)])],
    ids=["sparse", "chain", "mean"],
)
def test_product_and_gradient_equal_those_of_the_dense_matrix(operator, rng):
    x = torch.randn(7, 3, generator=rng, requires_grad=True)
    upstream = torch.randn(5, 3, generator=rng)
    dense = operator.dense()
    torch.testing.assert_close(operator(x), dense @ x)
    (gradient,) = torch.autograd.grad(operator(x), x, upstream)
    torch.testing.assert_close(gradient, dense.T @ upstream)
    assert operator.shape == (5, 7)
    torch.testing.assert_close(operator.to("cpu")(x), operator(x))


def test_an_empty_matrix_gives_zeros():
    assert torch.equal(SparseOperator(sp.csr_matrix((3, 4)))(torch.ones(4, 2)), torch.zeros(3, 2))


def test_moving_keeps_the_matrix_and_its_transpose():
    moved = random(5, 7, 1).to("meta")
    assert moved.forward_matrix.device.type == moved.backward_matrix.device.type == "meta"
    assert moved.shape == (5, 7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_sums_are_in_float32(dtype, rng):
    x = torch.randn(7, 3, generator=rng).to(dtype).requires_grad_()
    operator, upstream = random(5, 7, 1), torch.randn(5, 3, generator=rng)
    with torch.autocast("cpu", torch.bfloat16):
        product = operator(x)
    assert product.dtype == torch.float32
    torch.testing.assert_close(product, operator.dense() @ x.float())
    (gradient,) = torch.autograd.grad(product, x, upstream)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, (operator.dense().T @ upstream).to(dtype))
