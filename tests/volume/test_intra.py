import math

import pytest
import torch

from medgraph.data.batches import ImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.crops import MultiCrop
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.assigner import DeepCluster, SwAV
from medgraph.volume.intra import Intra

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=64)
FLAVOURS = {"swav": SwAV(num_prototypes=8, queue_size=0), "deepcluster": DeepCluster(num_prototypes=4, num_heads=2)}


def make(assigner=FLAVOURS["swav"], views=None) -> Intra:
    torch.manual_seed(3)
    encoder = ResNetEncoder(SPEC, depth=18, width=8)
    views = views or MultiCrop(sizes=(32, 16), counts=(2, 1))
    return Intra(SPEC, encoder, views, PrototypeCrossEntropy(temperature=0.1), assigner, embedding_dim=16)


@pytest.fixture
def batch(rng):
    return ImageBatch(torch.arange(16), torch.rand(16, 1, 32, 32, generator=rng), torch.zeros(16, dtype=torch.long))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_step_reaches_encoder_and_projector(flavour, batch):
    method = make(FLAVOURS[flavour])
    method.on_epoch_start(Step(0, 0, 0), [batch])
    outputs = method(batch, Step(0, 0, 0))
    outputs["loss"].backward()
    learned = [p for p in method.parameters() if p.requires_grad and p.ndim > 1]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learned)
    assert {"code_entropy", "source_nmi"} <= outputs.keys()
    assert method.watched()["scores"].shape == (16, FLAVOURS[flavour].num_prototypes)


def test_equal_embeddings_cost_at_least_ln_k(batch):
    method = make()
    for p in method.projector.parameters():
        p.data.zero_()
    list(method.projector.parameters())[-1].data.fill_(1.0)  # the last bias: every embedding is the same
    outputs = method(batch, Step(0, 0, 0))
    assert outputs["loss"].item() >= math.log(8) - 1e-4
    assert outputs["code_entropy"].item() == pytest.approx(math.log(8), abs=1e-4)


@pytest.mark.parametrize(("mode", "changes"), [("eval", False), ("train", True)])
def test_filling_leaves_batch_statistics_alone_in_eval_mode(mode, changes, batch):
    method = make(DeepCluster(num_prototypes=4, fill_mode=mode))
    before = method.encoder.network.bn1.running_mean.clone()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    assert method.training
    assert torch.equal(method.encoder.network.bn1.running_mean, before) != changes


def test_examples_are_embedded_once_and_clustered_each_epoch(batch):
    method = make(FLAVOURS["deepcluster"])
    method.on_epoch_start(Step(0, 0, 0), [batch])
    first = method.assigner.labels.clone()
    assert (first[:, :16] >= 0).all()

    def forbidden():
        raise AssertionError("filled twice")
        yield

    method.on_epoch_start(Step(0, 1, 4), forbidden())
    assert not torch.equal(method.assigner.labels, first)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_same_step_same_loss(flavour, batch):
    losses = []
    for _ in range(2):
        method = make(FLAVOURS[flavour])
        method.on_epoch_start(Step(5, 2, 9), [batch])
        losses.append(method(batch, Step(5, 2, 9))["loss"].item())
    assert losses[0] == losses[1]


def test_more_prototypes_than_examples_are_refused():
    with pytest.raises(ValueError, match=r"assigner.num_prototypes: 65 prototypes for 64 training examples"):
        make(SwAV(num_prototypes=65))


def test_views_of_stacks_are_refused():
    with pytest.raises(ValueError, match="views: StackViews are for stacks of slices, expected views of single images"):
        make(views=StackViews())
