"""PrototypeContrast: equal to cross-entropy over centroids; unlabelled rows; no gradient to centroids."""

import pytest
import torch
from torch.nn import functional as F

from medgraph.losses.prototype_contrast import PrototypeContrast


def _inputs(rng, sizes=(5, 3)):
    embeddings = torch.randn(8, 4, generator=rng, dtype=torch.float64)
    centroids = [F.normalize(torch.randn(k, 4, generator=rng, dtype=torch.float64), dim=1) for k in sizes]
    labels = [torch.randint(k, (8,), generator=rng) for k in sizes]
    concentrations = [0.1 + torch.rand(k, generator=rng, dtype=torch.float64) for k in sizes]
    return embeddings, centroids, labels, concentrations


def _cross_entropy(embeddings, centroids, labels, concentrations):
    terms = []
    for center, label, phi in zip(centroids, labels, concentrations, strict=True):
        terms.append(F.cross_entropy(F.normalize(embeddings, dim=1) @ center.T / phi, label))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("sizes", [(5,), (5, 3), (2, 2, 7)])
def test_equals_cross_entropy_in_value_and_gradient(sizes, rng):
    embeddings, *clusterings = _inputs(rng, sizes)
    embeddings.requires_grad_()
    values = PrototypeContrast()(embeddings, *clusterings), _cross_entropy(embeddings, *clusterings)
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(v, embeddings)[0] for v in values), rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_the_value(rng):
    embeddings, *clusterings = _inputs(rng)
    assert torch.autograd.gradcheck(lambda z: PrototypeContrast()(z, *clusterings), embeddings.requires_grad_())


def test_unlabelled_examples_are_left_out(rng):
    embeddings, centroids, labels, concentrations = _inputs(rng)
    for label in labels:
        label[:3] = -100
    expected = _cross_entropy(embeddings[3:], centroids, [label[3:] for label in labels], concentrations)
    torch.testing.assert_close(PrototypeContrast()(embeddings, centroids, labels, concentrations), expected)


def test_no_labelled_example_gives_zero_with_a_graph(rng):
    embeddings, centroids, _, concentrations = _inputs(rng)
    with pytest.warns(UserWarning, match="all 8 anchors have no label"):
        loss = PrototypeContrast()(embeddings.requires_grad_(), centroids, torch.full((2, 8), -100), concentrations)
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_centroids_and_concentrations_receive_no_gradient(rng):
    embeddings, centroids, labels, concentrations = _inputs(rng)
    for each in (*centroids, *concentrations):
        each.requires_grad_()
    PrototypeContrast()(embeddings.requires_grad_(), centroids, labels, concentrations).backward()
    assert all(each.grad is None for each in (*centroids, *concentrations))


def test_half_precision_and_a_small_concentration_stay_finite(rng):
    embeddings = torch.randn(6, 4, generator=rng).half().requires_grad_()
    phi = torch.full((3,), 1e-3)
    loss = PrototypeContrast()(embeddings, [torch.eye(4)[:3]], [torch.arange(6) % 3], [phi])
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad.isfinite().all()


def test_refuses_lists_of_different_lengths(rng):
    embeddings, centroids, labels, concentrations = _inputs(rng)
    with pytest.raises(ValueError, match="got centroids: 2, labels: 1, concentrations: 2"):
        PrototypeContrast()(embeddings, centroids, labels[:1], concentrations)


def test_drawn_negatives_are_the_other_centroids_of_the_loss(rng):
    embeddings, _, _, _ = _inputs(rng)
    centroids, concentration = torch.randn(20, 4, generator=rng, dtype=torch.float64), torch.full((20,), 0.5).double()
    labels = torch.tensor([3, 3, 7, 3, -100, 7, 3, 7])
    drawn = PrototypeContrast(num_negatives=5)(
        embeddings, [centroids], [labels], [concentration], torch.Generator().manual_seed(8)
    )
    order = torch.randperm(20, generator=torch.Generator().manual_seed(8)).tolist()
    others = [k for k in order if k not in (3, 7)][:5]
    logits = F.normalize(embeddings, dim=1) @ centroids[[3, 7, *others]].T / 0.5
    known = labels != -100
    torch.testing.assert_close(drawn, F.cross_entropy(logits[known], (labels[known] == 7).long()))


def test_draws_without_generator_repeat_and_enough_negatives_are_all(rng):
    inputs = _inputs(rng)
    loss = PrototypeContrast(num_negatives=2)
    assert loss(*inputs) == loss(*inputs)
    torch.testing.assert_close(PrototypeContrast(num_negatives=99)(*inputs), PrototypeContrast()(*inputs))


def test_refuses_wrong_draws_and_concentrations(rng):
    embeddings, centroids, labels, concentrations = _inputs(rng)
    with pytest.raises(ValueError, match="num_negatives: expected 1 or more"):
        PrototypeContrast(num_negatives=0)
    with pytest.raises(ValueError, match="concentrations: expected numbers above 0, got a minimum of 0"):
        PrototypeContrast()(embeddings, centroids, labels, [0 * c for c in concentrations])


@pytest.mark.parametrize("wrong", [-1, 1000])  # -1 would be the last centroid
def test_refuses_labels_that_are_no_centroid(wrong, rng):
    embeddings, centroids, labels, concentrations = _inputs(rng)
    labels[0][2] = wrong
    with pytest.raises(ValueError, match=f"labels: expected centroids 0 to 4, or -100, got {wrong}"):
        PrototypeContrast()(embeddings, centroids, labels, concentrations)


def test_stats_are_means_over_clusterings(rng):
    embeddings, *clusterings = _inputs(rng)
    loss = PrototypeContrast()
    each = [loss.stats(embeddings, *([part] for part in one)) for one in zip(*clusterings, strict=True)]
    assert len({one["mean"] for one in each}) > 1
    found = loss.stats(embeddings, *clusterings)
    ends = {"min": min, "max": max}
    for name, value in found.items():
        values = [one[name] for one in each]
        assert value == pytest.approx(ends[name](values) if name in ends else sum(values) / len(values)), name
    assert found["mean"] == pytest.approx(loss(embeddings, *clusterings).item())
