"""Scores of the positives of each query: their mean, in linear time as the score of a mean key, and log-sum-exp."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medgraph.losses.pairs.lse import pair_lse
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyPositives


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
    num_labels: int = 0  # more than any label
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

    def lse(self, q: Tensor, k: Tensor | None = None, scale: float | Tensor = 1.0) -> Tensor:
        """log sum over the positives p of query i of weight_p exp(scale_i <q_i, k_p>) (n,), -inf without any.

        Edges cost O(edges d) in time and memory; labels visit all pairs in linear memory.
        """
        k = q if k is None else k
        if len(q) != len(self.count):
            raise ValueError(f"positives were made for {len(self.count)} queries, got {len(q)}")
        if self.query_labels is not None:
            assert self.key_labels is not None
            terms = [OnlyPositives(self.query_labels, self.key_labels)]
            ids = torch.arange(len(q), device=q.device)
            return pair_lse(q, k, scale=scale, terms=[*terms, ExcludeSameId(ids)] if self.exclude_self else terms)[0]
        return self._edge_lse(q, k, scale)

    def _edge_lse(self, q: Tensor, k: Tensor, scale: float | Tensor) -> Tensor:
        assert self.rows is not None
        assert self.columns is not None
        dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.float32)
        rows, columns = self.rows.to(q.device), self.columns.to(q.device)
        of_rows = scale[rows] if isinstance(scale, Tensor) and scale.ndim == 1 else scale
        logits = of_rows * (q[rows].to(dtype) * k[columns].to(dtype)).sum(dim=1)  # (edges,)
        logits = logits if self.weights is None else logits + self.weights.to(logits).log()
        top = torch.full((len(q),), -torch.inf, dtype=dtype, device=q.device)
        top = top.scatter_reduce(0, rows, logits.detach(), "amax")
        empty = top == -torch.inf
        shift = top.masked_fill(empty, 0)
        total = torch.zeros_like(shift).index_add(0, rows, (logits - shift[rows]).exp())
        return (total.masked_fill(empty, 1).log() + shift).masked_fill(empty, -torch.inf)

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
        sums = torch.zeros(self.num_labels, k.shape[1], dtype=k.dtype, device=k.device).index_add(0, self.key_labels, k)
        total = sums[self.query_labels]  # (n, d), the sum of the keys of the query's label
        return (q * (total - k if self.exclude_self else total)).sum(dim=1)


def diagonal(num_queries: int, offset: int = 0, num_keys: int | None = None) -> Positives:
    """One positive each: key (i + offset) mod `num_keys` (default `num_queries`) of query i; paired views."""
    rows = torch.arange(num_queries)
    columns = (rows + offset) % (num_queries if num_keys is None else num_keys)
    return Positives(torch.ones(num_queries), rows, columns)


def permutation(keys_of_queries: Tensor) -> Positives:
    """One positive each: key `keys_of_queries[i]` of query i, for example after one view was shuffled.

    Raises:
        ValueError: A key is named twice; list such pairs by `by_edges`.
    """
    if len(keys_of_queries.unique()) != len(keys_of_queries):
        raise ValueError("permutation: a key is the positive of two queries; list the pairs by by_edges")
    rows = torch.arange(len(keys_of_queries), device=keys_of_queries.device)
    return Positives(torch.ones(len(rows), device=rows.device), rows, keys_of_queries)


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
    if not torch.compiler.is_compiling():  # a graph cannot ask
        _check_labels(query_labels, key_labels, labels, exclude_self)
    places = torch.searchsorted(labels.sort().values, labels)  # of each label among all: the labels may be large
    query_labels, key_labels = places.split([len(query_labels), len(key_labels)])
    num_labels = len(labels)
    sizes = torch.zeros(num_labels, device=labels.device).index_add(
        0, key_labels, torch.ones(key_labels.shape, device=labels.device)
    )
    count = sizes[query_labels] - int(exclude_self)
    return Positives(
        count, query_labels=query_labels, key_labels=key_labels, num_labels=num_labels, exclude_self=exclude_self
    )


def _check_labels(query_labels: Tensor, key_labels: Tensor, labels: Tensor, exclude_self: bool) -> None:
    if labels.is_floating_point() or (labels.numel() and labels.min() < 0):
        raise ValueError(f"by_label: expected integer labels from 0, got {labels.dtype} with minimum {labels.min()}")
    if exclude_self and not torch.equal(query_labels, key_labels):
        raise ValueError("by_label: exclude_self needs the keys to be the queries, but their labels differ")


def by_edges(rows: Tensor, columns: Tensor, num_queries: int, weights: Tensor | None = None) -> Positives:
    """The listed pairs: key columns[e] is a positive of query rows[e], with an optional weight each."""
    if rows.shape != columns.shape or (weights is not None and weights.shape != rows.shape):
        raise ValueError(
            f"by_edges: rows {tuple(rows.shape)}, columns {tuple(columns.shape)} and weights need one entry per pair"
        )
    mass = torch.ones(len(rows), device=rows.device) if weights is None else weights
    count = torch.zeros(num_queries, dtype=mass.dtype, device=rows.device).index_add(0, rows, mass)
    return Positives(count, rows, columns, weights)
