"""The cross-dimensional term equals a loop over volumes and slices, and only the volume learns from it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.volume.assigner import DeepCluster, SwAV
from medgraph.volume.cross import cross_loss

LOSS = PrototypeCrossEntropy(temperature=0.1)
STEP = Step(0, 0, 3)
VALID = torch.arange(5) < torch.tensor([5, 2, 4])[:, None]  # 11 slices of 3 volumes


def unit(rng, count):
    return F.normalize(torch.randn(count, 8, generator=rng), dim=1)


def swav(rng):
    assigner = SwAV(num_prototypes=6, queue_size=0).make(8, 16)
    assigner.prototypes.weight.data = unit(rng, 6)
    return assigner


def clustered(rng):
    assigner = DeepCluster(num_prototypes=4, num_heads=2).make(8, 16)
    assigner.fill([(torch.arange(16), [unit(rng, 16), unit(rng, 16)])])
    assigner.start_epoch(STEP)
    return assigner


def scaled_codes(scores):
    """Codes (n, k) by scaling the matrix in turn, as the paper writes it."""
    q = torch.exp((scores - scores.max()) / 0.05).T.double()
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / len(q)
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T


@pytest.mark.parametrize("flavour", ["swav", "deepcluster"])
def test_it_is_the_cross_entropy_against_the_mean_code_of_the_own_slices(flavour, rng):
    assigner = swav(rng) if flavour == "swav" else clustered(rng)
    features, vectors = torch.randn(11, 8, generator=rng), unit(rng, 3)
    found = cross_loss(assigner, nn.Identity(), features, vectors, VALID, LOSS, STEP)
    slices = F.normalize(features, dim=1).double()
    heads = [assigner.prototypes.weight] if flavour == "swav" else list(assigner.centroids)
    terms = []
    for prototypes in (p.detach().double() for p in heads):
        scores = slices @ prototypes.T
        nearest = torch.eye(len(prototypes), dtype=torch.float64)[scores.argmax(dim=1)]
        codes = scaled_codes(scores) if flavour == "swav" else nearest
        for volume, own in zip(vectors.double(), codes.split([5, 2, 4]), strict=True):
            terms.append(-(own.mean(dim=0) * (prototypes @ volume / 0.1).log_softmax(dim=0)).sum())
    assert found.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


@pytest.mark.parametrize("made", [swav, clustered])
def test_only_the_volume_learns_from_it(made, rng):
    assigner, projector = made(rng), nn.Linear(8, 8)
    features, vectors = torch.randn(11, 8, generator=rng, requires_grad=True), unit(rng, 3).requires_grad_()
    cross_loss(assigner, projector, features, vectors, VALID, LOSS, STEP).backward()
    assert vectors.grad.abs().sum() > 0
    assert features.grad is None
    assert projector.weight.grad is None


def test_frozen_prototypes_do_not_move(rng):
    assigner = swav(rng)
    assigner.settings.num_frozen_steps = 5
    arguments = (nn.Identity(), torch.randn(11, 8, generator=rng), unit(rng, 3).requires_grad_(), VALID, LOSS)
    cross_loss(assigner, *arguments, STEP).backward()
    assert assigner.prototypes.weight.grad is None
    cross_loss(assigner, *arguments, Step(0, 0, 5)).backward()
    assert assigner.prototypes.weight.grad.abs().sum() > 0
