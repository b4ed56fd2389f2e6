"""Contrast hands each loss what it compares, and orders embeddings by what is known."""

import pytest
import torch

from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses import InfoNCE, NTXent, RankNContrast, SupCon, SupReMix, WeightedInfoNCE, YAwareInfoNCE
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.stack_views import StackViews
from medgraph.transforms.volume_views import VolumeViews
from medgraph.volume.contrast import Contrast, arguments_of, contrast

NUMBERS = torch.tensor([1.0, 2.0, 5.0, 9.0])
STEP = Step(0, 0, 3)


def make(loss, spec, views):
    torch.manual_seed(3)
    return Contrast(spec, ResNetEncoder(spec, width=4), views, loss, hidden_dim=8, embedding_dim=4)


def test_each_loss_gets_what_it_compares(rng):
    first, second = torch.randn(2, 4, 3, generator=rng)
    both, twice = torch.cat([first, second]), NUMBERS.repeat(2)
    classes = torch.tensor([0, 0, 1, 1])
    for loss, labels, expected in (
        (InfoNCE(), NUMBERS, InfoNCE()(first, second)),
        (NTXent(), NUMBERS, NTXent()(first, second)),
        (YAwareInfoNCE(), NUMBERS, YAwareInfoNCE()(first, second, NUMBERS)),
        (RankNContrast(), NUMBERS, RankNContrast()(both, twice)),
        (SupCon(), classes, SupCon()(both, classes.repeat(2))),
        (SupReMix(), NUMBERS, SupReMix()(both, twice, torch.Generator().manual_seed(3))),
    ):
        torch.testing.assert_close(contrast(loss, arguments_of(loss), [first, second], labels, STEP), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_reaches_every_weight_and_repeats_itself(rng, dims):
    spec = ImageSpec(dims, 1, (16,) * dims, 4, target="age, years")
    images = torch.rand(4, 1, *spec.size, generator=rng)
    batch = ClassBatch(torch.arange(4), images, NUMBERS)
    method = make(SupReMix(), spec, ImageViews() if dims == 2 else VolumeViews()).train()
    loss = method(batch, STEP)["loss"]
    loss.backward()
    assert all(p.grad is not None for p in method.parameters())
    again = make(SupReMix(), spec, ImageViews() if dims == 2 else VolumeViews()).train()
    assert torch.equal(again(batch, STEP)["loss"], loss)


def test_losses_that_need_more_or_know_nothing_are_refused():
    spec = ImageSpec(2, 1, (16, 16), 4)
    with pytest.raises(ValueError, match="loss: RankNContrast needs a class or a number for each example"):
        make(RankNContrast(), spec, ImageViews())
    make(NTXent(), spec, ImageViews())
    with pytest.raises(ValueError, match=r"loss: WeightedInfoNCE compares .*; expected a loss of two views"):
        make(WeightedInfoNCE(), spec, ImageViews())


def test_views_that_do_not_suit_the_data_are_refused():
    with pytest.raises(ValueError, match=r"views: expected volumes .* use image_views"):
        make(NTXent(), ImageSpec(2, 1, (16, 16), 4), VolumeViews())
    with pytest.raises(ValueError, match="views: StackViews are for stacks of slices, expected views of single images"):
        make(NTXent(), ImageSpec(2, 1, (16, 16), 4), StackViews())
