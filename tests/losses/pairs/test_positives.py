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


def dense_lse(x, weights):
    logits = x + weights.log()
    empty = (weights == 0).all(dim=1, keepdim=True)
    return logits.masked_fill(empty, 0).logsumexp(dim=1).masked_fill(empty[:, 0], -torch.inf)


def test_lse_by_label_equals_the_dense_one(rng):
    z, labels = torch.randn(9, 4, generator=rng, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 0, 3, 1, 0])
    same = (labels[:, None] == labels).double()
    found = positives.by_label(labels).lse(z, scale=2.0)
    torch.testing.assert_close(found, dense_lse(2 * z @ z.T, same - torch.eye(9, dtype=torch.float64)))
    with_self = positives.by_label(labels, exclude_self=False).lse(z, scale=2.0)
    torch.testing.assert_close(with_self, dense_lse(2 * z @ z.T, same))


def test_lse_by_edges_equals_the_dense_one_with_its_gradient(rng):
    q, k = (torch.randn(3, 4, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    scale = torch.tensor([1.0, 2.0, 300.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    found = positives.by_edges(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), 3, weights).lse(q, k, scale)
    dense = torch.zeros(3, 3, dtype=torch.float64).index_put(
        (torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0])), weights
    )
    expected = dense_lse(scale[:, None] * q @ k.T, dense)
    torch.testing.assert_close(found, expected)
    got = torch.autograd.grad(found[[0, 2]].sum(), (q, k))
    torch.testing.assert_close(got, torch.autograd.grad(expected[[0, 2]].sum(), (q, k)))


def test_permutation_names_each_query_its_key(rng):
    q, k = torch.randn(2, 5, 4, generator=rng, dtype=torch.float64)
    order = torch.randperm(5, generator=rng)
    found = positives.permutation(order)
    torch.testing.assert_close(found.mean(q, k), (q * k[order]).sum(1))
    torch.testing.assert_close(found.lse(q, k), (q * k[order]).sum(1))
    with pytest.raises(ValueError, match="permutation: a key is the positive of two queries"):
        positives.permutation(torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="positives were made for 5 queries, got 3"):
        found.lse(q[:3], k)
