import numpy as np
import pytest
import scipy.sparse as sp
import torch

from medgraph.data import sparse


@pytest.fixture
def matrix():
    return sp.random(6, 9, density=0.4, format="csr", rng=np.random.default_rng(0), dtype=np.float32)


def test_round_trip_of_every_layout(matrix):
    tensor = sparse.to_torch(matrix)
    assert (tensor.layout, tensor.dtype) == (torch.sparse_csr, torch.float32)
    for form in (tensor, tensor.to_sparse_coo(), tensor.to_dense()):
        np.testing.assert_array_equal(sparse.to_scipy(form).toarray(), matrix.toarray())


def test_rows_are_divided_by_their_absolute_sum():
    rows = np.array([[1.0, 3.0, 0.0], [-1.0, 1.0, 2.0], [0.0, 0.0, 0.0], [2.0, -2.0, 0.0]])
    expected = np.array([[0.25, 0.75, 0], [-0.25, 0.25, 0.5], [0, 0, 0], [0.5, -0.5, 0]], dtype=np.float32)
    np.testing.assert_array_equal(sparse.normalize_rows(rows), expected)
    found = sparse.normalize_rows(sp.csr_matrix(rows))
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.dtype == np.float32


def test_unit_rows_have_length_one_and_zeros_stay():
    matrix = sp.csr_matrix(np.array([[3.0, 0, -4], [0, 0, 0], [0, 2, 0]]))
    expected = np.array([[0.6, 0, -0.8], [0, 0, 0], [0, 1, 0]], dtype=np.float32)
    tensor = sparse.to_torch(matrix)
    for form in (tensor, tensor.to_dense()):
        unit = sparse.unit_rows(form)
        assert unit.layout == form.layout
        np.testing.assert_allclose(sparse.to_scipy(unit).toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize(("shape", "dim"), [((30, 20), 5), ((30, 4), 5), ((4, 30), 5), ((9, 1), 64)])
def test_singular_directions_keep_most_of_a_matrix(shape, dim):
    matrix = sp.random(*shape, density=0.6, format="csr", rng=np.random.default_rng(1), dtype=np.float32)
    rows, directions = sparse.singular_directions(matrix, dim)
    kept = min(dim, *shape)
    assert (rows.shape, directions.shape) == ((shape[0], kept), (shape[1], kept))
    np.testing.assert_allclose(directions.T @ directions, np.eye(kept), atol=1e-5)
    np.testing.assert_allclose(matrix @ directions, rows, atol=1e-5)
    values = np.linalg.svd(matrix.toarray(), compute_uv=False)[:kept]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=0), values, rtol=1e-4)
    again = sparse.singular_directions(matrix, dim)
    np.testing.assert_array_equal(again[1], directions)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_singular_directions_of_fewer_than_asked(rank):
    rng = np.random.default_rng(2)
    matrix = sp.csr_matrix((rng.random((40, rank)) @ rng.random((rank, 30))).round(3))
    rows, directions = sparse.singular_directions(matrix, 12)
    assert (rows.shape, directions.shape) == ((40, 12), (30, 12))
    np.testing.assert_allclose(rows @ directions.T, matrix.toarray(), atol=5e-3)  # rounding to 0.001 fills the rank
    assert np.isfinite(directions).all()
