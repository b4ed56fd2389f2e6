"""Sparse matrices between scipy, which multiplies them, and torch, which trains on them."""

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor


def to_torch(matrix: sp.csr_matrix) -> Tensor:
    """A scipy matrix as a float32 CSR tensor."""
    matrix = sp.csr_matrix(matrix)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse CSR tensor support is in beta"
        )  # products of it are all we use
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            check_invariants=True,
        )


def to_scipy(tensor: Tensor) -> sp.csr_matrix:
    """A CSR, COO or dense tensor as a scipy CSR matrix; zeros of a dense tensor are left out."""
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        rows, columns = tensor.indices().numpy()
        return sp.csr_matrix((tensor.values().numpy(), (rows, columns)), shape=tuple(tensor.shape))
    if tensor.layout == torch.sparse_csr:
        parts = (tensor.values().numpy(), tensor.col_indices().numpy(), tensor.crow_indices().numpy())
        return sp.csr_matrix(parts, shape=tuple(tensor.shape))
    return sp.csr_matrix(tensor.numpy())


def unit_rows(features: Tensor) -> Tensor:
    """Rows of a CSR or dense tensor divided by their length; rows of zeros stay zero."""
    if features.layout == torch.strided:
        return torch.nn.functional.normalize(features, dim=1)
    matrix = to_scipy(features)
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), dtype=np.float64)).ravel()
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    values = matrix.data * np.repeat(scale, np.diff(matrix.indptr))  # a product would leave columns out of order
    return to_torch(sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape))


def normalize_rows(matrix: sp.csr_matrix | np.ndarray) -> sp.csr_matrix | np.ndarray:
    """Rows divided by their sum of absolute values; rows of zeros stay zero."""
    norm = np.asarray(abs(matrix).sum(axis=1), dtype=np.float64).ravel()
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    if sp.issparse(matrix):
        return (sp.diags(scale) @ matrix).tocsr().astype(np.float32)
    return (scale[:, None] * matrix).astype(np.float32)


def singular_directions(matrix: sp.csr_matrix, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the first right singular vectors (n, k), and these as columns (width, k), largest first, float32.

    k is `dim`, or the shorter side of the matrix where that is less. A matrix of zeros has none: all are 0.
    """
    matrix = sp.csr_matrix(matrix, dtype=np.float64)
    if not matrix.count_nonzero():
        kept = min(dim, *matrix.shape)
        return np.zeros((matrix.shape[0], kept), np.float32), np.zeros((matrix.shape[1], kept), np.float32)
    if min(matrix.shape) <= dim:
        left, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(0).normal(size=min(matrix.shape))
        left, values, right = svds(matrix, k=dim, v0=start)
        left, values, right = left[:, ::-1], values[::-1], right[::-1]
    return (left * values).astype(np.float32), right.T.astype(np.float32)
