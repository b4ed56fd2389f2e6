"""Reductions over all pairs of queries and keys without a matrix of all pairs."""

from medgraph.losses.pairs import positives, terms
from medgraph.losses.pairs.lse import pair_lse
from medgraph.losses.pairs.sum import pair_sum

__all__ = ["pair_lse", "pair_sum", "positives", "terms"]
