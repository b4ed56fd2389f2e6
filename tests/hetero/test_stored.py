import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hetero.whole import matrix, owners, planted_batches

from medgraph.hetero.row_store import RowStore
from medgraph.hetero.stored import blocks, store_edges
from medgraph.transforms.metapaths import gcn_normalise


def neighbours(with_diagonal=True):
    """Twenty nodes, the last without neighbours; without the diagonal, odd ones do not list themselves."""
    dense = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.float32)
    np.fill_diagonal(dense, 2)
    if not with_diagonal:
        dense[np.arange(1, 20, 2), np.arange(1, 20, 2)] = 0
    dense[19] = 0
    return sp.csr_matrix(dense)


@pytest.mark.parametrize("with_diagonal", [True, False])
@pytest.mark.parametrize("isolated", ["keep", "self_loop"])
@pytest.mark.parametrize("transpose", [True, False])
def test_stored_edges_are_the_normalized_graph_and_always_hold_the_diagonal(transpose, isolated, with_diagonal):
    stored = store_edges(neighbours(with_diagonal), transpose, isolated)
    expected = gcn_normalise(neighbours(with_diagonal), transpose=transpose, isolated=isolated)
    np.testing.assert_allclose(matrix(stored).toarray(), expected.toarray(), rtol=1e-6, atol=1e-7)
    rows = owners(stored)
    assert rows[rows == stored.columns].tolist() == list(range(20))


@pytest.mark.parametrize("transpose", [True, False])
def test_masked_copies_are_binary_graphs_normalized_by_their_own_degrees(transpose):
    data = planted_batches(edge_masks=(0.3, 0.6), transpose=transpose)
    for index, (path, mask) in enumerate(zip(data.views.paths, data.views.masks(0), strict=True)):
        rows, columns = owners(path.edges), path.edges.columns.long()
        kept = sp.csr_matrix((mask.stays(rows, columns).numpy().astype(float), (rows, columns)), (90, 90))
        kept.eliminate_zeros()
        assert (kept.diagonal() == 1).all()
        share = 1 - (kept.nnz - 90) / (len(rows) - 90)
        assert share == pytest.approx((0.3, 0.6)[index], abs=0.05)
        listed = kept.T.tocsr() if transpose else kept  # rows list columns
        expected = gcn_normalise(listed, transpose=transpose)
        np.testing.assert_allclose(
            matrix(path.edges, mask.values(rows, columns)).toarray(), expected.toarray(), rtol=1e-5, atol=1e-7
        )


def test_masks_come_anew_in_each_round_and_hang_on_the_seed_alone():
    views = planted_batches(resample_masks_every=2, seed=3).views
    assert [views.round_of(epoch) for epoch in range(5)] == [0, 0, 1, 1, 2]
    assert planted_batches().views.round_of(7) == 0
    edges = views.paths[0].edges
    entry = owners(edges), edges.columns.long()
    drawn = [views.masks(number)[0].stays(*entry) for number in (0, 1)]
    assert not torch.equal(*drawn)
    assert torch.equal(planted_batches(seed=3).views.masks(0)[0].stays(*entry), drawn[0])
    assert torch.equal(drawn[0][5:9], views.masks(0)[0].stays(entry[0][5:9], entry[1][5:9]))
    assert not torch.equal(planted_batches(seed=4).views.masks(0)[0].stays(*entry), drawn[0])


def test_blocks_cover_all_rows_in_order():
    store = RowStore.of(neighbours())
    ranges = list(blocks(store, most=25))
    assert [stop for _, stop in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert (ranges[0][0], ranges[-1][1]) == (0, 20)
    for start, stop in ranges:
        assert stop == start + 1 or store.starts[stop] - store.starts[start] <= 25
    assert list(blocks(RowStore.of(sp.csr_matrix((5, 3), dtype=np.float32)), most=2)) == [(0, 2), (2, 4), (4, 5)]
