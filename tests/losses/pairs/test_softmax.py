"""softmax as a pair term: the weights of a sum, equal to the dense softmax."""

import torch

from medgraph.losses.pairs import pair_sum
from medgraph.losses.pairs.softmax import softmax
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyNegatives


def test_expected_scores_equal_the_dense_ones(rng):
    x, y = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    others = ExcludeSameId(torch.arange(7))
    found = pair_sum(y, phi="identity", terms=(softmax(x, scale=300.0, terms=(others,)), others))
    shares = (300 * x @ x.T).fill_diagonal_(-torch.inf).softmax(dim=1)
    torch.testing.assert_close(found, (shares * (y @ y.T)).sum(dim=1), rtol=1e-9, atol=1e-9)


def test_a_query_without_keys_gets_nothing(rng):
    x, none = torch.randn(3, 2, generator=rng), OnlyNegatives(torch.zeros(3, dtype=torch.long))
    assert pair_sum(x, phi="identity", terms=(softmax(x, terms=(none,)), none), backend="dense").tolist() == [0, 0, 0]
