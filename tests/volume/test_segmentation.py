import pytest
import torch

from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.dice import DiceCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.segmentation_augment import SegmentationAugment
from medgraph.volume.segmentation import Segmentation

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=8, classes=("background", "front", "back"))


def make(**arguments) -> Segmentation:
    torch.manual_seed(3)
    encoder = ResNetEncoder(SPEC, depth=18, width=8)
    return Segmentation(SPEC, encoder, SegmentationAugment(), DiceCrossEntropy(), **arguments)


def test_it_learns_a_bright_square(rng):
    method = make()
    images = 0.2 * torch.rand(8, 1, 32, 32, generator=rng)
    labels = torch.zeros(8, 32, 32, dtype=torch.long)
    labels[:, 8:24, 8:24] = 1
    images[labels[:, None] == 1] += 0.8
    batch = LabelledImageBatch(torch.arange(8), images, labels)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for number in range(50):
        optimizer.zero_grad()
        method.training_step(batch, Step(0, number, number))["loss"].backward()
        optimizer.step()
    predicted = method.eval().predict(images).argmax(dim=1)
    assert predicted.shape == labels.shape
    assert (predicted == labels).float().mean() > 0.95


def test_every_parameter_is_in_one_group():
    method = make(encoder_lr_scale=0.1)
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters()}
    assert len(grouped) == len(set(map(id, grouped)))


def test_data_without_classes_is_refused():
    spec = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=8)
    with pytest.raises(ValueError, match="the data declares 0 classes"):
        Segmentation(spec, ResNetEncoder(SPEC, width=8), SegmentationAugment(), DiceCrossEntropy())


def test_flips_change_predictions_and_not_training(rng):
    images = torch.rand(2, 1, 32, 32, generator=rng)
    plain, flipped = make().eval(), make(test_flips=(0, 1)).eval()
    assert torch.equal(plain.logits(images), flipped.logits(images))
    assert not torch.allclose(plain.predict(images).softmax(1), flipped.predict(images).softmax(1))
    torch.testing.assert_close(flipped.predict(images.flip(3)), flipped.predict(images).flip(3))
