import pytest
import torch

from medgraph.losses.pairs import positives


def dense_mean(x, mask):
    return torch.stack([x[i][mask[i]].mean() if mask[i].any() else x.new_zeros(()) for i in range(len(x))])


def test_by_label_equals_the_dense_mean(rng):
    z, labels = torch.randn(9, 4, generator=rng, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 0, 3, 1, 0])
    found = positives.by_label(labels)
    mask = (labels[:, None] == labels) & ~torch.eye(9, dtype=torch.bool)
    torch.testing.assert_close(found.mean(z, scale=2.0), dense_mean(2 * z @ z.T, mask), rtol=0, atol=1e-12)
    assert found.count.tolist() == mask.sum(1).tolist()


def test_diagonal_pairs_the_two_views(rng):
    z = torch.randn(6, 4, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(positives.diagonal(6, offset=3).mean(z), (z * z.roll(-3, 0)).sum(1), rtol=0, atol=1e-12)


def test_by_edges_weighs_each_pair(rng):
    q, k = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    found = positives.by_edges(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), 3, weights)
    x = q @ k.T
    expected = torch.stack([(x[0, 1] + 3 * x[0, 2]) / 4, x.new_zeros(()), x[2, 0]])
    torch.testing.assert_close(found.mean(q, k), expected, rtol=0, atol=1e-12)


def test_labels_below_zero_are_refused():
    with pytest.raises(ValueError, match="expected integer labels from 0"):
        positives.by_label(torch.tensor([-1, 0]))


def test_self_cannot_be_excluded_among_other_keys():
    with pytest.raises(ValueError, match="exclude_self needs the keys to be the queries"):
        positives.by_label(torch.tensor([0, 1]), torch.tensor([1, 1]), exclude_self=True)


def test_edges_need_one_entry_each():
    with pytest.raises(ValueError, match="one entry per pair"):
        positives.by_edges(torch.arange(2), torch.arange(3), 3)


def test_queries_must_be_those_the_positives_were_made_for():
    with pytest.raises(ValueError, match="made for 3 queries, got 2"):
        positives.diagonal(3).mean(torch.ones(2, 2))
