"""Constant linear operators on node matrices: sparse products with a stored transpose, chains and means of them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class SparseOperator:
    """A constant sparse matrix times a dense one; the backward pass multiplies by the transpose, stored once.

    Torch's own sparse product forms the transpose anew in every backward pass. Under autocast it is in float32: sums go
    over many neighbours, and a CPU has no sparse product of half precision.

    Args:
        matrix: Any scipy sparse matrix.
    """

    def __init__(self, matrix: Any):
        matrix = sp.csr_matrix(matrix)
        self.shape: tuple[int, int] = matrix.shape
        self.num_entries = int(matrix.nnz)
        self.forward_matrix = _csr(matrix)
        self.backward_matrix = _csr(sp.csr_matrix(matrix.T))

    def __call__(self, x: Tensor) -> Tensor:
        """(columns, d) -> (rows, d)."""
        with torch.autocast(x.device.type, enabled=False):
            return _Product.apply(x.float(), self.forward_matrix, self.backward_matrix)

    def to(self, device: torch.device | str) -> "SparseOperator":
        """The operator on another device; itself where it is there already."""
        if self.forward_matrix.device == torch.device(device):
            return self
        moved = SparseOperator.__new__(SparseOperator)
        moved.shape, moved.num_entries = self.shape, self.num_entries
        moved.forward_matrix = self.forward_matrix.to(device)
        moved.backward_matrix = self.backward_matrix.to(device)
        return moved

    def dense(self) -> Tensor:
        """The whole matrix, for small graphs."""
        return self.forward_matrix.to_dense()


class Chain:
    """A product of operators, never formed: `Chain((a, b))(x)` is a(b(x)).

    Args:
        operators: Left to right as in the product.
    """

    def __init__(self, operators: Sequence[SparseOperator]):
        self.operators: tuple[SparseOperator, ...] = tuple(operators)
        self.shape = self.operators[0].shape[0], self.operators[-1].shape[1]
        self.num_entries: int = sum(operator.num_entries for operator in self.operators)

    def __call__(self, x: Tensor) -> Tensor:
        """(columns, d) -> (rows, d)."""
        for operator in reversed(self.operators):
            x = operator(x)
        return x

    def to(self, device: torch.device | str) -> "Chain":
        """The operator on another device."""
        return Chain([operator.to(device) for operator in self.operators])

    def dense(self) -> Tensor:
        """The whole matrix, for small graphs."""
        product = self.operators[0].dense()
        for operator in self.operators[1:]:
            product = product @ operator.dense()
        return product


class Mean:
    """The mean of operators of one shape: the coarse graph, as the mean of the meta-path graphs.

    Args:
        operators: At least one.
    """

    def __init__(self, operators: Sequence["Operator"]):
        self.operators = tuple(operators)
        self.shape: tuple[int, int] = self.operators[0].shape
        self.num_entries: int = sum(int(operator.num_entries) for operator in self.operators)

    def __call__(self, x: Tensor) -> Tensor:
        """(columns, d) -> (rows, d)."""
        total = self.operators[0](x)
        for operator in self.operators[1:]:
            total = total + operator(x)
        return total / len(self.operators)

    def to(self, device: torch.device | str) -> "Mean":
        """The operator on another device."""
        return Mean([operator.to(device) for operator in self.operators])

    def dense(self) -> Tensor:
        """The whole matrix, for small graphs."""
        return torch.stack([operator.dense() for operator in self.operators]).mean(0)


Operator = SparseOperator | Chain | Mean


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        with torch.autocast(gradient.device.type, enabled=False):
            return ctx.transpose @ gradient.contiguous(), None, None


def _csr(matrix: sp.csr_matrix) -> Tensor:
    matrix.sort_indices()
    small = max(matrix.nnz, *matrix.shape) < 2**31
    index = np.int32 if small else np.int64
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(index)),
            torch.from_numpy(matrix.indices.astype(index)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            check_invariants=False,
        )
