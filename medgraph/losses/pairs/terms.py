"""Pair terms: masks and log-weights of the virtual score matrix, stored as small factors, never n x m.

Terms compose by addition; `term` says what each of them answers. Unless a docstring says otherwise, a term costs
O(n + m) memory plus one tile.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.losses.pairs.additive import additive_scores
from medgraph.losses.pairs.term import Factors, PairTerm, same


class ExcludeSameId(PairTerm):
    """Remove pairs with the same id: self, views of one subject, duplicates in a queue.

    A key with a negative id is an empty slot and is removed for every query.

    Args:
        query_ids: Integer ids (n,).
        key_ids: Integer ids (m,); None if the keys are the queries.
    """

    mirrors = True

    def __init__(self, query_ids: Tensor, key_ids: Tensor | None = None):
        self.row_factors, self.column_factors = _both("ExcludeSameId", query_ids, key_ids)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        empty = columns[0] < 0
        if bool(empty.any()):
            return (rows[0][:, None] != columns[0][None, :]) & ~empty[None, :]
        return None if _apart(rows[0], columns[0]) else rows[0][:, None] != columns[0][None, :]

    @property
    def has_empty(self) -> bool:
        """Whether a key is an empty slot."""
        return bool((self.column_factors[0] < 0).any())

    @property
    def symmetric(self) -> bool:
        """See `PairTerm`."""
        return super().symmetric and not self.has_empty


class OnlyNegatives(PairTerm):
    """Keep pairs of different labels. Args: integer labels of the queries (n,) and of the keys (m,)."""

    mirrors = True

    def __init__(self, query_labels: Tensor, key_labels: Tensor | None = None):
        self.row_factors, self.column_factors = _both("OnlyNegatives", query_labels, key_labels)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return None if _apart(rows[0], columns[0]) else rows[0][:, None] != columns[0][None, :]


class OnlyPositives(PairTerm):
    """Keep pairs of equal labels; remove self with `ExcludeSameId`. Args: labels (n,) and (m,)."""

    mirrors = True

    def __init__(self, query_labels: Tensor, key_labels: Tensor | None = None):
        self.row_factors, self.column_factors = _both("OnlyPositives", query_labels, key_labels)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return rows[0][:, None] == columns[0][None, :]


class RequireEqual(OnlyPositives):
    """Keep pairs of equal code (site, scanner, modality), so that the code cannot solve the task."""


class CodeDisagreement(PairTerm):
    """log of the number of clusterings in which a pair disagrees; -inf where all agree (MEOW's hard weights).

    Args:
        query_codes: Cluster of each query in each clustering, integers (n, r).
        key_codes: The same for the keys (m, r); None if the keys are the queries.
    """

    mirrors = True

    def __init__(self, query_codes: Tensor, key_codes: Tensor | None = None):
        self.row_factors, self.column_factors = _both("CodeDisagreement", query_codes, key_codes, ndim=2)
        if self.row_factors[0].shape[1] != self.column_factors[0].shape[1]:
            raise ValueError(
                f"CodeDisagreement: queries have {self.row_factors[0].shape[1]} clusterings, "
                f"keys {self.column_factors[0].shape[1]}; give the same clusterings for both"
            )

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        dtype = torch.float32 if scores is None else scores.dtype
        count = torch.zeros(len(rows[0]), len(columns[0]), dtype=dtype, device=rows[0].device)
        for query_code, key_code in zip(rows[0].unbind(1), columns[0].unbind(1), strict=True):
            count += query_code[:, None] != key_code[None, :]
        return count.log_()


class ColumnLogWeight(PairTerm):
    """One log-weight per key (m,): inverse propensity, or the age decay of a queue. May require a gradient."""

    def __init__(self, log_weight: Tensor):
        if log_weight.ndim != 1:
            raise ValueError(f"ColumnLogWeight: expected one number per key (m,), got shape {tuple(log_weight.shape)}")
        self.column_factors = (log_weight,)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return columns[0][None, :].expand(block.row_stop - block.row_start, -1)

    def check(self, num_rows: int, num_columns: int) -> None:
        """Raise ValueError unless there is one log-weight per key, a number or -inf."""
        super().check(num_rows, num_columns)
        _check_log_weights("ColumnLogWeight", self.column_factors[0])


class TableLogWeight(PairTerm):
    """A log-weight per pair of strata (site x site, age bin x age bin).

    Args:
        table: Log-weights (strata, strata); may require a gradient.
        query_codes: Stratum of each query (n,).
        key_codes: Stratum of each key (m,); None if the keys are the queries.
    """

    mirrors = True

    def __init__(self, table: Tensor, query_codes: Tensor, key_codes: Tensor | None = None):
        self.row_factors, self.column_factors = _both("TableLogWeight", query_codes, key_codes)
        self.shared_factors = (table,)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return shared[0][rows[0]][:, columns[0]]

    def check(self, num_rows: int, num_columns: int) -> None:
        """Raise ValueError unless each query and key has a stratum, and the log-weights are numbers or -inf."""
        super().check(num_rows, num_columns)
        _check_log_weights("TableLogWeight", self.shared_factors[0])

    @property
    def symmetric(self) -> bool:
        """See `PairTerm`."""
        return super().symmetric and same(self.shared_factors[0], self.shared_factors[0].T)


class LabelDistance(PairTerm):
    """A log-weight from the distance of labels: ordinal weights, a kernel on age, a minimal gap of slices.

    Args:
        query_labels: Numbers (n,) or vectors (n, l).
        key_labels: The same for the keys; None if the keys are the queries.
        function: Takes the Euclidean distances of a tile and returns log-weights, or True where the pair stays.
    """

    settings = ("function",)
    mirrors = True

    def __init__(self, query_labels: Tensor, key_labels: Tensor | None, function: Callable[[Tensor], Tensor]):
        labels = query_labels if query_labels.is_floating_point() else query_labels.long()  # narrow ones would wrap
        key_labels = labels if key_labels is None else key_labels
        key_labels = key_labels if key_labels.is_floating_point() else key_labels.long()
        self.row_factors, self.column_factors = (labels,), (key_labels,)
        self.function = function

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        difference = rows[0][:, None] - columns[0][None, :]
        return self.function(difference.abs() if difference.ndim == 2 else difference.norm(dim=2))


class ScoreFloor(PairTerm):
    """Remove pairs whose score (scale and biases included) is below the query's threshold (n,): hard negatives only."""

    def __init__(self, threshold: Tensor):
        self.row_factors = (threshold.detach(),)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return scores >= rows[0][:, None]


class ScoreCeil(PairTerm):
    """Remove pairs whose score (scale and biases included) is above the query's threshold (n,): false negatives."""

    def __init__(self, threshold: Tensor):
        self.row_factors = (threshold.detach(),)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return scores <= rows[0][:, None]


class Guide(PairTerm):
    """Remove pairs that a frozen guide model finds similar: cosine above `threshold`. Memory O((n + m) d).

    Args:
        query_guide: Guide embeddings (n, d); normalised here, no gradient.
        key_guide: Guide embeddings (m, d); None if the keys are the queries.
        threshold: Cosine above which a pair counts as a false negative.
    """

    settings = ("threshold",)

    def __init__(self, query_guide: Tensor, key_guide: Tensor | None, threshold: float):
        key_guide = query_guide if key_guide is None else key_guide
        self.row_factors = (F.normalize(query_guide.detach(), dim=1),)
        self.column_factors = (F.normalize(key_guide.detach(), dim=1),)
        self.threshold = threshold

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return rows[0] @ columns[0].T <= self.threshold


class LowRankBias(PairTerm):
    """A learned additive bias of low rank: <u_i, v_j>. Memory O((n + m) r). Args: u (n, r), v (m, r)."""

    def __init__(self, u: Tensor, v: Tensor):
        self.row_factors, self.column_factors = (u,), (v,)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return rows[0] @ columns[0].T


class AdditiveScorer(PairTerm):
    """log sigmoid(w . tanh(u_i + v_j) + b): a learned weight per pair (AdaMEOW). Memory O((n + m) h).

    Args:
        u: First layer applied to the queries, bias included (n, h).
        v: First layer applied to the keys (m, h).
        weight: Second layer (h,).
        bias: Its bias, a scalar tensor.
    """

    values_per_pair = 3

    def __init__(self, u: Tensor, v: Tensor, weight: Tensor, bias: Tensor):
        self.row_factors, self.column_factors, self.shared_factors = (u,), (v,), (weight, bias)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return F.logsigmoid(additive_scores(rows[0], columns[0], *shared))


class SparseBias(PairTerm):
    """An additive bias for listed pairs, 0 elsewhere; -inf removes a pair. Memory O(pairs listed).

    Args:
        rows: Query of each listed pair, ascending integers (p,).
        columns: Key of each listed pair (p,).
        values: Bias of each listed pair (p,); may require a gradient.
    """

    def __init__(self, rows: Tensor, columns: Tensor, values: Tensor):
        if not rows.shape == columns.shape == values.shape:
            raise ValueError(
                "SparseBias: rows, columns and values need one entry per pair, "
                f"got {tuple(rows.shape)}, {tuple(columns.shape)}, {tuple(values.shape)}"
            )
        self.shared_factors = (values, rows, columns)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        values, rows, columns = shared
        ends = torch.tensor([block.row_start, block.row_stop], device=rows.device)
        first, last = torch.searchsorted(rows, ends).tolist()
        inside = (columns[first:last] >= block.column_start) & (columns[first:last] < block.column_stop)
        if not inside.any():
            return None
        where = rows[first:last][inside] - block.row_start, columns[first:last][inside] - block.column_start
        shape = block.row_stop - block.row_start, block.column_stop - block.column_start
        values = values[first:last][inside]
        return values.new_zeros(shape).index_put(where, values, accumulate=True)

    def check(self, num_rows: int, num_columns: int) -> None:
        """Raise ValueError if rows do not ascend, a listed pair lies outside the matrix, or a bias is NaN or +inf."""
        values, rows, columns = self.shared_factors
        _check_log_weights("SparseBias", values)
        if bool((rows[1:] < rows[:-1]).any()):
            raise ValueError("SparseBias: rows must ascend; sort the pairs by row first")
        for name, indices, size in (("rows", rows, num_rows), ("columns", columns, num_columns)):
            if indices.numel() and (indices.min() < 0 or indices.max() >= size):
                raise ValueError(f"SparseBias: {name} must lie from 0 to {size - 1}, got {indices.max()} at most")


class DenseBias(PairTerm):
    """An additive bias per pair (n, m): a way out for experiments. Memory O(n m), which it warns about."""

    def __init__(self, bias: Tensor):
        warnings.warn(
            f"DenseBias holds all {bias.shape[0]} x {bias.shape[1]} pairs; a factored term needs linear memory",
            stacklevel=2,
        )
        self.row_factors = (bias,)

    def compute(self, rows, columns, shared, block, scores):
        """See the class."""
        return rows[0][:, block.columns]

    def check(self, num_rows: int, num_columns: int) -> None:
        """Raise ValueError unless there is one entry per pair."""
        shape = tuple(self.row_factors[0].shape)
        if shape != (num_rows, num_columns):
            raise ValueError(f"DenseBias: expected shape ({num_rows}, {num_columns}), got {shape}")


def _both(name: str, queries: Tensor, keys: Tensor | None, ndim: int = 1) -> tuple[Factors, Factors]:
    keys = queries if keys is None else keys
    for side, codes in (("queries", queries), ("keys", keys)):
        if codes.is_floating_point() or codes.ndim != ndim:
            raise ValueError(
                f"{name}: expected integers with {ndim} axes for the {side}, "
                f"got {codes.dtype} of shape {tuple(codes.shape)}"
            )
    return (queries,), (keys,)


def _check_log_weights(name: str, weights: Tensor) -> None:
    """Raise ValueError for NaN or +inf; -inf is a weight of 0."""
    if weights.numel() and not bool(weights.detach().amax() < torch.inf):  # NaN is not below it either
        raise ValueError(f"{name}: expected log-weights that are numbers or -inf, got {float(weights.detach().amax())}")


def _apart(first: Tensor, second: Tensor) -> bool:
    """Whether the ranges of two integer vectors do not meet, so that no pair can be equal."""
    if first.numel() == 0 or second.numel() == 0:
        return True
    low, high = first.aminmax()
    other_low, other_high = second.aminmax()
    return bool(high < other_low) or bool(other_high < low)
