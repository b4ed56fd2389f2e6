import numpy as np
import pytest
import scipy.sparse as sp

from medgraph.transforms import row_top_k
from medgraph.transforms.row_top_k import keep_top


@pytest.mark.parametrize("padded", [1, 40, 10**6])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_equals_sorting_each_row(k, padded, monkeypatch):
    monkeypatch.setattr(row_top_k, "_PADDED_ENTRIES", padded)
    rng = np.random.default_rng(1)
    matrix = sp.random(25, 30, density=0.4, format="csr", rng=rng)
    scores = rng.integers(0, 4, matrix.nnz).astype(float)  # many ties
    kept = keep_top(matrix, scores, k)
    for i in range(25):
        places = range(matrix.indptr[i], matrix.indptr[i + 1])
        best = sorted(places, key=lambda place: (-scores[place], place))[:k]
        assert np.flatnonzero(kept[list(places)]).tolist() == sorted(place - matrix.indptr[i] for place in best)


def test_an_infinite_score_always_survives():
    matrix = sp.csr_matrix(np.ones((1, 9)))
    scores = np.array([1.0, 2, 3, 4, 5, 6, 7, np.inf, 9])
    assert np.flatnonzero(keep_top(matrix, scores, 2)).tolist() == [7, 8]


@pytest.mark.parametrize("k", [1, 3, 50])
def test_ranks_decide_between_equal_scores(k):
    rng = np.random.default_rng(2)
    matrix = sp.random(25, 30, density=0.4, format="csr", rng=rng)
    scores = rng.integers(0, 4, matrix.nnz).astype(float)
    ranks = rng.integers(0, 3, matrix.nnz).astype(float)  # with ties of their own: the earlier entry wins
    kept = keep_top(matrix, scores, k, lambda places: ranks[places])
    for i in range(25):
        places = range(matrix.indptr[i], matrix.indptr[i + 1])
        best = sorted(places, key=lambda place: (-scores[place], ranks[place], place))[:k]
        assert np.flatnonzero(kept[list(places)]).tolist() == sorted(place - matrix.indptr[i] for place in best)
