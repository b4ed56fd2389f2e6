"""Bank: the last vector written at each id; never-written ids are invalid and unlabelled."""

import jaxtyping
import pytest
import torch

from medgraph.clustering.bank import Bank


def test_each_row_is_the_last_vector_written(rng):
    bank, expected = Bank(9, 2), {}
    for _ in range(6):
        ids = torch.randint(7, (5,), generator=rng)
        vectors = torch.randn(5, 2, generator=rng)
        bank.write(ids, vectors)
        expected |= dict(zip(ids.tolist(), vectors.tolist(), strict=True))
    assert bank.valid.nonzero().flatten().tolist() == sorted(expected)
    known = torch.tensor(sorted(expected))
    assert bank.vectors(known).tolist() == [expected[i] for i in known.tolist()]


def test_starts_with_no_valid_vector():
    bank = Bank(4, 2)
    assert not bank.valid.any()
    with pytest.raises(ValueError, match="bank: 1 of 1 ids were never written, the first is 3"):
        bank.vectors(torch.tensor([3]))
    with pytest.raises(ValueError, match="bank: holds nothing yet; write vectors before clustering"):
        bank.cluster(2, rng=_seed(0))


def test_ids_never_written_are_not_clustered(rng):
    bank = Bank(10, 3)
    ids = torch.tensor([8, 1, 4, 5])
    bank.write(ids, torch.eye(3)[[0, 1, 0, 1]])
    seed = next(n for n in range(30) if set(torch.randperm(4, generator=_seed(n))[:2].tolist()) in ({0, 1}, {2, 3}))
    labels, centroids = bank.cluster(2, rng=_seed(seed))
    assert (labels >= 0).nonzero().flatten().tolist() == [1, 4, 5, 8]
    assert set(labels[labels < 0].tolist()) == {-100}
    assert labels[8] == labels[4] != labels[1]
    assert labels[1] == labels[5]
    torch.testing.assert_close(centroids[labels[ids]], torch.eye(3)[[0, 1, 0, 1]])


def test_checkpoint_keeps_vectors_and_validity(rng):
    bank, other = Bank(4, 2, dtype="bfloat16"), Bank(4, 2, dtype="bfloat16")
    bank.write(torch.tensor([1, 2]), torch.randn(2, 2, generator=rng))
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.valid, bank.valid)
    assert torch.equal(other.vectors(torch.tensor([1, 2])), bank.vectors(torch.tensor([1, 2])))


def test_written_vectors_are_copies_without_gradient():
    vectors = torch.ones(1, 2, requires_grad=True)
    bank = Bank(2, 2)
    bank.write(torch.tensor([0]), vectors)
    with torch.no_grad():
        vectors.zero_()
    assert bank.vectors(torch.tensor([0])).tolist() == [[1.0, 1.0]]
    assert not bank.vectors(torch.tensor([0])).requires_grad


@pytest.mark.parametrize("wrong", [-1, 4])
def test_refuses_ids_outside(wrong):
    with pytest.raises(ValueError, match="ids: expected 0 to 3, got"):
        Bank(4, 2).write(torch.tensor([wrong]), torch.ones(1, 2))


def test_refuses_vectors_that_are_no_one_per_id():
    bank = Bank(4, 2)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="expected the same length, got ids: 1, vectors: 2"):
            bank.write(torch.tensor([0]), torch.ones(2, 2))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert not bank.valid.any()


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("shape", [(2, 1), (2,)])
def test_a_narrow_vector_is_not_written_across_the_row(shape):
    bank = Bank(4, 3)
    with pytest.raises(ValueError, match=r"write: expected vectors of shape \(n, 3\), got \(2,"):
        bank.write(torch.tensor([0, 1]), torch.ones(shape))
    assert not bank.valid.any()


@pytest.mark.parametrize("value", [torch.nan, -torch.inf, 1e6])
def test_refuses_what_it_cannot_hold(value):
    bank, vectors = Bank(4, 2, dtype="float16"), torch.ones(3, 2)
    vectors[1, 0] = value
    with pytest.raises(ValueError, match="vectors: NaN or infinity in 1 of 3 embeddings, rows 1"):
        bank.write(torch.tensor([0, 1, 2]), vectors)
    assert not bank.valid.any()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="num_examples: expected 1 or more, got 0"):
        Bank(0, 2)
    with pytest.raises(ValueError, match="dtype: expected one of"):
        Bank(4, 2, dtype="int8")


def _seed(number):
    return torch.Generator().manual_seed(number)
