import numpy as np
import pytest
import scipy.sparse as sp
import torch

from medgraph.hetero.row_store import RowStore


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    dense = rng.random((12, 40)) * (rng.random((12, 40)) < np.linspace(0, 0.9, 12)[:, None])
    return sp.csr_matrix(dense.astype(np.float32))


def test_all_entries_of_some_rows(matrix):
    rows = torch.tensor([7, 0, 3, 7])
    taken = RowStore.of(matrix).take(rows)
    dense = torch.zeros(4, 40)
    dense[taken.owners, taken.columns] = taken.values
    assert torch.equal(dense, torch.from_numpy(matrix.toarray())[rows])
    assert (taken.scale == 1).all()
    assert len(RowStore.of(matrix).take(rows[:0]).owners) == 0


def test_a_sample_has_the_asked_size_no_entry_twice_and_is_whole_where_the_row_is_short(matrix):
    store, rows = RowStore.of(matrix), torch.arange(12)
    lengths = np.diff(matrix.indptr)
    for seed in range(20):
        uniform = torch.rand(12, generator=torch.Generator().manual_seed(seed))
        taken = store.take(rows, 7, uniform)
        assert torch.bincount(taken.owners, minlength=12).tolist() == np.minimum(lengths, 7).tolist()
        assert len(set(zip(taken.owners.tolist(), taken.columns.tolist(), strict=True))) == len(taken.owners)
        assert np.array_equal(taken.values.numpy(), matrix.toarray()[taken.owners, taken.columns])


def test_each_entry_is_taken_as_often_as_its_scale_says(matrix):
    store, row = RowStore.of(matrix), torch.tensor([11])
    length = int(np.diff(matrix.indptr)[11])
    grid = (torch.arange(20_000) + 0.5) / 20_000  # every starting point
    taken = store.take(row.expand(20_000), 7, grid)
    share = torch.bincount(taken.columns, minlength=40)[torch.from_numpy(matrix[11].indices).long()] / 20_000
    torch.testing.assert_close(share, torch.full((length,), 7 / length), atol=2e-4, rtol=0)
    torch.testing.assert_close(taken.scale, torch.full_like(taken.scale, length / 7))
    means = torch.zeros(20_000).index_add(0, taken.owners, taken.values * taken.scale).mean()
    assert means.item() == pytest.approx(matrix[11].sum(), rel=1e-3)


def test_blocks_are_the_rows_between(matrix):
    starts, columns, values = RowStore.of(matrix).block(4, 9)
    found = sp.csr_matrix((values.numpy(), columns.numpy(), starts.numpy()), (5, 40))
    assert (found != matrix[4:9]).nnz == 0
    assert RowStore.of(matrix).num_bytes == 8 * matrix.nnz + 8 * 13
