import math

import pytest
import torch

from medgraph.data.batches import ImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.crops import MultiCrop
from medgraph.volume.intra import Intra

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=64)


def make(**arguments) -> Intra:
    torch.manual_seed(3)
    encoder = ResNetEncoder(SPEC, depth=18, width=8)
    views = MultiCrop(sizes=(32, 16), counts=(2, 1))
    arguments = {"num_prototypes": 8, "queue_size": 0, **arguments}
    return Intra(SPEC, encoder, views, PrototypeCrossEntropy(temperature=0.1), embedding_dim=16, **arguments)


@pytest.fixture
def batch(rng):
    return ImageBatch(torch.arange(16), torch.rand(16, 1, 32, 32, generator=rng), torch.zeros(16, dtype=torch.long))


def test_a_step_reaches_encoder_projector_and_prototypes(batch):
    method = make()
    method.training_step(batch, Step(0, 0, 0))["loss"].backward()
    for part in (method.encoder, method.projector, method.prototypes):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)


def test_frozen_prototypes_get_no_gradient(batch):
    method = make(num_frozen_steps=2)
    method.training_step(batch, Step(0, 0, 1))["loss"].backward()
    assert method.prototypes.weight.grad is None
    method.training_step(batch, Step(0, 0, 2))["loss"].backward()
    assert method.prototypes.weight.grad.abs().sum() > 0


def test_equal_embeddings_cost_at_least_ln_k(batch):
    method = make()
    for p in method.projector.parameters():
        p.data.zero_()
    list(method.projector.parameters())[-1].data.fill_(1.0)  # the last bias: every embedding is the same
    outputs = method.training_step(batch, Step(0, 0, 0))
    assert outputs["loss"].item() >= math.log(8) - 1e-4
    assert outputs["code_entropy"].item() == pytest.approx(math.log(8), abs=1e-4)


def test_the_queue_fills_and_then_takes_part(batch):
    method = make(queue_size=32, queue_from_epoch=1)
    for number in range(3):
        method.training_step(batch, Step(0, 0, number))
    assert method.queues[0].full
    before = method.training_step(batch, Step(0, 0, 3))["code_entropy"]
    after = method.training_step(batch, Step(0, 1, 4))["code_entropy"]
    assert before != after


def test_same_step_same_loss(batch):
    losses = [make().training_step(batch, Step(5, 2, 9))["loss"].item() for _ in range(2)]
    assert losses[0] == losses[1]


def test_more_prototypes_than_examples_are_refused():
    with pytest.raises(ValueError, match="num_prototypes: 65 prototypes for 64 training examples"):
        make(num_prototypes=65)
