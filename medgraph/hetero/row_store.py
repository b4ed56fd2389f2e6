"""RowStore: a constant sparse matrix whose rows are read a few at a time, all of them or a sample of their entries."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


@dataclass(frozen=True)
class Entries:
    """Entries taken from some rows, in order of these rows.

    Attributes:
        owners: Which of the rows asked for each entry belongs to (e,), ascending.
        columns: Column of each entry (e,).
        values: Its value (e,).
        scale: Inverse of the probability with which it was taken (e,): what a sum over the row needs.
    """

    owners: Tensor
    columns: Tensor
    values: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class RowStore:
    """Rows of a constant sparse matrix: 8 bytes an entry, no transpose.

    Attributes:
        starts: Place of the first entry of each row, and the end (n + 1,), int64.
        columns: Column of each entry, int32.
        values: Value of each entry, float32.
        num_columns: Width of the matrix.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    num_columns: int

    @classmethod
    def of(cls, matrix: Any) -> "RowStore":
        """The rows of a scipy CSR matrix; explicit zeros stay."""
        matrix = sp.csr_matrix(matrix)
        starts = torch.from_numpy(matrix.indptr.astype(np.int64))
        columns = torch.from_numpy(matrix.indices.astype(np.int32, copy=False))
        return cls(starts, columns, torch.from_numpy(matrix.data.astype(np.float32, copy=False)), matrix.shape[1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def num_bytes(self) -> int:
        """Memory of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.starts, self.columns, self.values))

    def take(self, rows: Tensor, most: int | None = None, uniform: Tensor | None = None) -> Entries:
        """Entries of some rows: all, or at most `most` of each.

        Of a row of L entries with L > most those at floor((u + t) L / most), t = 0, 1, ..., are taken, u the row's
        number in `uniform`: they differ, lie spread over the row, and each is taken with probability most / L.

        Args:
            rows: Numbers of rows (n,); one may come twice.
            most: Entries of a row at most; None takes all.
            uniform: Number in [0, 1) for each of the rows (n,); needed where `most` is given.
        """
        begin = self.starts[rows]
        length = self.starts[rows + 1] - begin
        kept = length if most is None else length.clamp_max(most)
        owners = torch.repeat_interleave(torch.arange(len(rows)), kept)
        first = kept.cumsum(0) - kept
        place = torch.arange(len(owners)) - first[owners]
        scale = torch.ones(len(owners))
        if most is not None:
            assert uniform is not None
            step = (length.double() / kept.clamp_min(1))[owners]
            place = ((uniform.double()[owners] + place) * step).long().minimum(length[owners] - 1)
            scale = step.float()
        place = place + begin[owners]
        return Entries(owners, self.columns[place].long(), self.values[place], scale)

    def block(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Starts, columns and values of the rows from `start` up to `stop`; views, nothing is copied but starts."""
        first, last = int(self.starts[start]), int(self.starts[stop])
        return self.starts[start : stop + 1] - first, self.columns[first:last], self.values[first:last]
