"""SupCon: equal to a loop in all modes; anchors without positives are left out."""

import pytest
import torch
from reference.losses_pairwise import assert_equal_with_gradients, loop_supcon

from medgraph.losses.nt_xent import NTXent
from medgraph.losses.supcon import SupCon

MODES = ["out", "in", "per_positive"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 1, 0, 3, 1, 0], [0, 0, 1, 2, 3, 4, 5, 6, 7]])
def test_equals_loop(mode, labels, any_tile, rng):
    x, labels = torch.randn(9, 3, generator=rng, dtype=torch.float64), torch.tensor(labels)
    assert_equal_with_gradients(lambda z: SupCon(0.5, mode)(z, labels), lambda z: loop_supcon(z, labels, 0.5, mode), x)


@pytest.mark.parametrize("mode", MODES)
def test_one_positive_each_equals_nt_xent(mode, rng):
    first, second = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    labels = torch.arange(6).repeat(2)
    torch.testing.assert_close(SupCon(0.5, mode)(torch.cat([first, second]), labels), NTXent(0.5)(first, second))


@pytest.mark.parametrize("mode", MODES)
def test_reordering_examples_changes_nothing(mode, rng):
    x, labels = torch.randn(9, 3, generator=rng, dtype=torch.float64), torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0])
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(SupCon(mode=mode)(x[order], labels[order]), SupCon(mode=mode)(x, labels))


def test_in_is_never_above_out(rng):
    labels = torch.randint(3, (20,), generator=rng)
    for _ in range(20):
        x = torch.randn(20, 3, generator=rng)
        assert SupCon(mode="in")(x, labels) <= SupCon(mode="out")(x, labels)


@pytest.mark.parametrize("mode", MODES)
def test_no_positive_gives_zero_with_a_graph(mode, any_tile, rng):
    x = torch.randn(4, 3, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 4 anchors have no positive"):
        loss = SupCon(mode=mode)(x, torch.arange(4))
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


def test_no_negative_per_positive_gives_zero_with_a_graph(rng):
    x = torch.randn(4, 3, generator=rng, requires_grad=True)
    with pytest.warns(UserWarning, match="all 4 anchors have no positive or no negative"):
        loss = SupCon(mode="per_positive")(x, torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_pair_reduction_weighs_anchors_by_their_positives(mode, rng):
    x, labels = torch.randn(9, 3, generator=rng, dtype=torch.float64), torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0])
    count = torch.tensor([3, 2, 3, 0, 2, 3, 0, 2, 3])
    each = SupCon(0.5, mode, reduction="none")(x, labels)
    assert each[[3, 6]].tolist() == [0, 0]
    torch.testing.assert_close(SupCon(0.5, mode, reduction="pair")(x, labels), (count * each).sum() / count.sum())
    torch.testing.assert_close(SupCon(0.5, mode, reduction="sum")(x, labels), each.sum())
    torch.testing.assert_close(SupCon(0.5, mode)(x, labels), each.sum() / 7)


def test_per_positive_holds_no_matrix(rng, monkeypatch):
    monkeypatch.setattr("medgraph.losses.pairs.lse.dense_lse", None)
    monkeypatch.setattr("medgraph.losses.pairs.sum.dense.scores", None)
    x = torch.randn(300, 3, generator=rng, requires_grad=True)
    SupCon(mode="per_positive")(x, torch.arange(300) % 2).backward()
    assert x.grad.isfinite().all()


def test_refuses_wrong_settings():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        SupCon(-1.0)
    with pytest.raises(ValueError, match="mode: expected one of 'out', 'in', 'per_positive'"):
        SupCon(mode="both")


def test_memory_does_not_grow_with_the_labels(rng):
    x, labels = torch.randn(6, 3, generator=rng), torch.tensor([0, 1, 0, 2, 1, 0])
    assert torch.equal(SupCon()(x, labels + 10**12), SupCon()(x, labels))


@pytest.mark.usefixtures("shapes_unchecked")
def test_labels_may_be_of_any_whole_type_and_are_one_per_example(rng):
    x, labels = torch.randn(6, 3, generator=rng), torch.tensor([0, 1, 0, 1, 1, 0])
    for dtype in (torch.uint8, torch.int16, torch.bool):
        assert torch.equal(SupCon()(x, labels.to(dtype)), SupCon()(x, labels))
    with pytest.raises(ValueError, match=r"labels: expected one per example, shape \(n,\), got \(6, 1\)"):
        SupCon()(x, labels[:, None])
    with pytest.raises(TypeError, match=r"labels: expected whole numbers, got torch.float32"):
        SupCon()(x, labels.float())


@pytest.mark.usefixtures("shapes_unchecked")
def test_refuses_maps_that_are_no_rows():
    with pytest.raises(ValueError, match=r"embeddings: expected shape \(examples, dim\), got \(2, 3, 4\)"):
        SupCon()(torch.ones(2, 3, 4), torch.tensor([0, 1]))
