import numpy as np
import pytest
import scipy.sparse as sp
from reference.graphs import dense_counts, random_graph

from medgraph.data.incidence import incidence
from medgraph.transforms.metapath_walks import walk_counts


@pytest.mark.parametrize("name", ["pap", "papsp"])
def test_the_mean_over_seeds_is_the_exact_count(name):
    graph = random_graph()
    path = graph.metapath(name)
    steps = [incidence(graph, edge_type) for edge_type in path.edge_types]
    runs = np.stack([walk_counts(steps, np.arange(30), 200, seed).toarray() for seed in range(60)])
    error = runs.std(axis=0) / np.sqrt(60)
    exact = dense_counts(graph, path)
    np.testing.assert_array_less(np.abs(runs.mean(axis=0) - exact), 5 * error + 0.02 * exact + 1e-9)


def test_a_row_depends_on_its_target_only():
    graph = random_graph()
    steps = [incidence(graph, edge_type) for edge_type in graph.metapath("psp").edge_types]
    whole = walk_counts(steps, np.arange(30), 9, seed=1)
    assert (whole[[4, 20]] != walk_counts(steps, np.array([4, 20]), 9, seed=1)).nnz == 0
    assert (whole != walk_counts(steps, np.arange(30), 9, seed=2)).nnz > 0


def test_walks_that_end_nowhere_count_nothing():
    step = sp.csr_matrix(np.array([[0.0, 0], [0, 1]]))
    assert walk_counts([step, step.T.tocsr()], np.arange(2), 5, seed=0).toarray().tolist() == [[0, 0], [0, 1]]
    empty = sp.csr_matrix((2, 2))
    assert walk_counts([empty, empty], np.arange(2), 5, seed=0).nnz == 0
