"""Mean score of the positives of each query, in linear time: a mean of scores is the score of a mean key."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positives:
    """Which keys are positives of which query, as weighted edges or as labels; made by the functions below.

    `count` (n,) is the number (or total weight) of positives of each query. A query without any has count 0 and a mean
    of 0: drop it by `count > 0`.
    """

    count: Tensor
    rows: Tensor | None = None
    columns: Tensor | None = None
    weights: Tensor | None = None
    query_labels: Tensor | None = None
    key_labels: Tensor | None = None
    exclude_self: bool = False

    def mean(self, q: Tensor, k: Tensor | None = None, scale: float | Tensor = 1.0) -> Tensor:
        """mean over the positives p of query i of scale_i <q_i, k_p> (n,). Memory O(n d), or O(edges d) for edges."""
        k = q if k is None else k
        dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.float32)
        q, k = q.to(dtype), k.to(dtype)
        if len(q) != len(self.count):
            raise ValueError(f"positives were made for {len(self.count)} queries, got {len(q)}")
        total = self._label_total(q, k) if self.query_labels is not None else self._edge_total(q, k)
        count = self.count.to(q)
        return scale * total / count.masked_fill(count == 0, 1)

    def _edge_total(self, q: Tensor, k: Tensor) -> Tensor:
        assert self.rows is not None
        assert self.columns is not None
        rows, columns = self.rows.to(q.device), self.columns.to(q.device)
        scores = (q[rows] * k[columns]).sum(dim=1)  # (edges,)
        scores = scores if self.weights is None else scores * self.weights.to(q)
        return torch.zeros(len(q), dtype=q.dtype, device=q.device).index_add(0, rows, scores)

    def _label_total(self, q: Tensor, k: Tensor) -> Tensor:
        assert self.query_labels is not None
        assert self.key_labels is not None
        num_labels = int(torch.cat([self.query_labels, self.key_labels]).max()) + 1
        sums = torch.zeros(num_labels, k.shape[1], dtype=k.dtype, device=k.device).index_add(0, self.key_labels, k)
        total = sums[self.query_labels]  # (n, d), the sum of the keys of the query's label
        return (q * (total - k if self.exclude_self else total)).sum(dim=1)


def diagonal(num_queries: int, offset: int = 0, num_keys: int | None = None) -> Positives:
    """One positive each: key (i + offset) mod `num_keys` (default `num_queries`) of query i; paired views."""
    rows = torch.arange(num_queries)
    columns = (rows + offset) % (num_queries if num_keys is None else num_keys)
    return Positives(torch.ones(num_queries), rows, columns)


def by_label(query_labels: Tensor, key_labels: Tensor | None = None, exclude_self: bool | None = None) -> Positives:
    """Every key of the query's label. Labels are integers from 0.

    Args:
        query_labels: Labels of the queries (n,).
        key_labels: Labels of the keys (m,); None if the keys are the queries.
        exclude_self: Whether key i is no positive of query i; default: True exactly if the keys are the queries.
    """
    exclude_self = key_labels is None if exclude_self is None else exclude_self
    key_labels = query_labels if key_labels is None else key_labels
    labels = torch.cat([query_labels, key_labels])
    if labels.is_floating_point() or (labels.numel() and labels.min() < 0):
        raise ValueError(f"by_label: expected integer labels from 0, got {labels.dtype} with minimum {labels.min()}")
    if exclude_self and not torch.equal(query_labels, key_labels):
        raise ValueError("by_label: exclude_self needs the keys to be the queries, but their labels differ")
    num_labels = int(labels.max()) + 1 if labels.numel() else 0
    count = torch.bincount(key_labels, minlength=num_labels)[query_labels] - int(exclude_self)
    return Positives(count.float(), query_labels=query_labels, key_labels=key_labels, exclude_self=exclude_self)


def by_edges(rows: Tensor, columns: Tensor, num_queries: int, weights: Tensor | None = None) -> Positives:
    """The listed pairs: key columns[e] is a positive of query rows[e], with an optional weight each."""
    if rows.shape != columns.shape or (weights is not None and weights.shape != rows.shape):
        raise ValueError(
            f"by_edges: rows {tuple(rows.shape)}, columns {tuple(columns.shape)} and weights need one entry per pair"
        )
    mass = torch.ones(len(rows), device=rows.device) if weights is None else weights
    count = torch.zeros(num_queries, dtype=mass.dtype, device=rows.device).index_add(0, rows, mass)
    return Positives(count, rows, columns, weights)
