"""Spherical k-means: centroids on the unit sphere, assignment by the largest dot product."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks, processes
from medgraph.losses.pairs.lse import refuse_not_finite

_TILE_ENTRIES = 2**21  # scores held at a time, 8 MiB in float32


@torch.no_grad()
def spherical_kmeans(
    x: Float[Tensor, "n d"],
    k: int,
    iterations: int = 10,
    *,
    rng: torch.Generator,
    start: str = "random",
    empty: str = "keep",
    together: bool = False,
) -> tuple[Int[Tensor, " n"], Float[Tensor, "k d"]]:
    """Labels and unit centroids that maximize  sum_i max_k <x_i / |x_i|, centroid_k>  [1], as in DeepCluster-v2 [2].

    Each iteration assigns every row to its best centroid and moves each centroid to the unit mean of its rows, summed
    in float64; a last assignment gives the labels. The sum above never falls. Scores exist one block of rows at a
    time, never (n, k); memory beyond x is one normalized copy of it.

    [1] Dhillon and Modha, 2001, doi:10.1023/A:1007612920971. [2] Caron et al., 2020, arXiv:2006.09882, appendix.

    Args:
        x: Vectors of any length but 0; half precision is clustered in float32.
        k: Number of centroids.
        iterations: Rounds of assignment and update.
        rng: Source of the starting centroids; the same state gives the same labels.
        start: "random", k distinct rows; or "plus_plus", rows drawn far from those already drawn.
        empty: What an empty centroid does: "keep" its place, or "split" the largest cluster at its worst row.
        together: Cluster the rows of all processes: sums and counts are exchanged, labels are those of the own rows.
            `rng` must stand at the same state in every process.

    Raises:
        ValueError: A row is not finite, or there are fewer rows than centroids.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> labels, centroids = spherical_kmeans(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), 2, rng=rng)
        >>> bool(labels[0] == labels[2]), bool(labels[0] == labels[1])
        (True, False)
    """
    checks.at_least("iterations", iterations, 1)
    checks.one_of("start", start, ("random", "plus_plus"))
    checks.one_of("empty", empty, ("keep", "split"))
    units = F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)
    refuse_not_finite("x", units.sum(dim=1, keepdim=True))  # a unit row of NaN or infinity holds NaN
    rows = _Rows.of(units, together)
    if not 1 <= k <= rows.total:
        raise ValueError(f"k: expected from 1 to {rows.total} centroids for {rows.total} vectors, got {k}")
    centroids = rows.take(_random_rows(rows, k, rng) if start == "random" else _distant_rows(rows, k, rng))
    for _ in range(iterations):
        labels, best, sums, counts = _assign(rows, centroids)
        length = sums.norm(dim=1, keepdim=True)  # 0 for an empty cluster, or one whose rows cancel: it stays
        centroids = torch.where(length > 0, sums / length.where(length > 0, 1), centroids).to(rows.x.dtype)
        if empty == "split":
            centroids = _split_largest(rows, centroids, labels, best, counts)
    return _assign(rows, centroids)[0], centroids


def several_kmeans(
    x: Float[Tensor, "n d"],
    ks: Sequence[int],
    iterations: int = 10,
    *,
    rng: torch.Generator,
    start: str = "random",
    empty: str = "keep",
    together: bool = False,
) -> list[tuple[Int[Tensor, " n"], Float[Tensor, "_ d"]]]:
    """Labels and centroids of one clustering for each of `ks`, from different starts; one head each in DeepCluster-v2.

    Args:
        x, iterations, rng, start, empty, together: As of `spherical_kmeans`.
        ks: Numbers of centroids; equal numbers give clusterings that differ by their start.

    Example:
        >>> found = several_kmeans(torch.eye(4), (2, 3), rng=torch.Generator().manual_seed(0))
        >>> [centroids.shape[0] for labels, centroids in found]
        [2, 3]
    """
    return [spherical_kmeans(x, k, iterations, rng=rng, start=start, empty=empty, together=together) for k in ks]


@dataclass(frozen=True)
class _Rows:
    """Unit rows of this process, numbered over all processes that cluster together."""

    x: Tensor
    sizes: list[int]
    rank: int

    @classmethod
    def of(cls, x: Tensor, together: bool) -> "_Rows":
        return cls(x, processes.counts(x), processes.rank()) if together else cls(x, [len(x)], 0)

    @property
    def total(self) -> int:
        """Number of rows in all processes."""
        return sum(self.sizes)

    @property
    def first(self) -> int:
        """Number of the first own row."""
        return sum(self.sizes[: self.rank])

    def sum(self, x: Tensor) -> Tensor:
        """Sum over processes."""
        return x if len(self.sizes) == 1 else processes.all_reduce_sum(x)

    def everyone(self, value: Tensor) -> Tensor:
        """The scalar of every process (world,)."""
        values = value.new_zeros(len(self.sizes))
        values[self.rank] = value
        return self.sum(values)

    def take(self, numbers: Tensor) -> Tensor:
        """The rows with these numbers, wherever they are."""
        if len(self.sizes) == 1:
            return self.x[numbers]
        own = (numbers >= self.first) & (numbers < self.first + len(self.x))
        taken = self.x.new_zeros(len(numbers), self.x.shape[1])
        taken[own] = self.x[numbers[own] - self.first]
        return self.sum(taken)

    def draw(self, weights: Tensor, uniform: Tensor) -> Tensor:
        """Number of a row drawn in proportion to the weights of all rows, by a number from 0 to 1."""
        ends = self.everyone(weights.sum()).cumsum(0)
        filled = (self.everyone(weights.sum()) > 0).nonzero().max()
        target = uniform * ends[-1]
        owner = torch.searchsorted(ends, target, right=True).clamp_max(filled)
        number = torch.zeros_like(owner)
        if owner == self.rank:
            before = ends[owner] - weights.sum()
            row = torch.searchsorted(weights.cumsum(0), target - before, right=True).clamp_max(len(self.x) - 1)
            number = row + self.first
        return self.sum(number)


def _assign(rows: _Rows, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Best centroid of each own row, its score, and per centroid the sum (float64) and number of all its rows."""
    k = len(centroids)
    sums = torch.zeros(centroids.shape, dtype=torch.float64, device=centroids.device)
    labels, best = [], []
    for some in rows.x.split(max(1, _TILE_ENTRIES // k)):
        score, label = (some @ centroids.T).max(dim=1)
        sums.index_add_(0, label, some.double())
        labels.append(label)
        best.append(score)
    every = torch.cat(labels)
    return every, torch.cat(best), rows.sum(sums), rows.sum(torch.bincount(every, minlength=k))


def _split_largest(rows: _Rows, centroids: Tensor, labels: Tensor, best: Tensor, counts: Tensor) -> Tensor:
    """Put each empty centroid on the worst row of the cluster that is then the largest."""
    centroids, labels, counts = centroids.clone(), labels.clone(), counts.clone()
    for index in (counts == 0).nonzero().flatten().tolist():
        largest = counts.argmax()
        if counts[largest] < 2:
            break
        scores = torch.cat([best.where(labels == largest, torch.inf), best.new_full((1,), torch.inf)])
        worst = scores.argmin()  # the last place, of no row, if the cluster has none here
        owner = rows.everyone(scores[worst]).argmin()
        centroids[index] = rows.take(rows.everyone(worst + rows.first)[owner][None])[0]
        if owner == rows.rank:
            labels[worst] = index
        counts[largest] -= 1
        counts[index] = 1
    return centroids


def _random_rows(rows: _Rows, k: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(rows.total, generator=rng, device=rng.device)[:k].to(rows.x.device)


def _distant_rows(rows: _Rows, k: int, rng: torch.Generator) -> Tensor:
    """k-means++: each next row with probability in proportion to its squared distance from the nearest one drawn."""
    x = rows.x
    uniform = torch.rand(k, generator=rng, device=rng.device, dtype=torch.float64).to(x.device)
    drawn: list[Tensor] = []
    weights = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for number in uniform:
        if rows.sum(weights.sum()) <= 0:  # fewer distinct rows than centroids: any row not yet drawn
            weights = torch.ones_like(weights)
            for row in drawn:
                weights[_at(rows, row)] = 0
        row = rows.draw(weights, number)
        drawn.append(row)
        weights = torch.minimum(weights, (1 - (x @ rows.take(row[None])[0]).double()).clamp_min(0))
        weights[_at(rows, row)] = 0
    return torch.stack(drawn)


def _at(rows: _Rows, number: Tensor) -> Tensor:
    """Place of a row among the own ones: none if it is elsewhere."""
    place = number - rows.first
    return place[None][(place >= 0) & (place < len(rows.x))[None]]
