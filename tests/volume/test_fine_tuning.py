import pytest
import torch

from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.dice import DiceCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.runner.optimizer import AdamW
from medgraph.transforms.segmentation_augment import SegmentationAugment
from medgraph.volume.segmentation import Segmentation

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=8, classes=("background", "front"))


def make(**arguments) -> Segmentation:
    torch.manual_seed(3)
    return Segmentation(SPEC, ResNetEncoder(SPEC, width=4), SegmentationAugment(), DiceCrossEntropy(), **arguments)


def one_step(method, number=0):
    """Loss and gradients of one step on fixed images."""
    rng = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (4, 32, 32), generator=rng)
    batch = LabelledImageBatch(torch.arange(4), torch.rand(4, 1, 32, 32, generator=rng), labels)
    method.train()
    method(batch, Step(0, 0, number))["loss"].backward()


def test_in_the_warmup_no_gradient_reaches_the_encoder():
    method = make(head_warmup=3)
    one_step(method, number=2)
    assert all(p.grad is None for p in method.encoder.parameters())
    assert all(p.grad is not None for p in method.decoder.parameters())
    one_step(method, number=3)
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_a_frozen_encoder_changes_neither_weights_nor_statistics():
    method = make(freeze=True)
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    optimizer = AdamW(lr=0.1).make(method.parameter_groups())
    one_step(method)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in method.encoder.state_dict().items())


def test_layer_decay_reaches_the_optimizer():
    optimizer = AdamW(lr=1.0).make(make(layer_decay=0.5, encoder_lr_scale=0.8).parameter_groups())
    rates = {group["peak_lr"] for group in optimizer.param_groups}
    assert rates == {1.0, *(0.8 * 0.5**k for k in range(5))}
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(make().parameters()))


@pytest.mark.parametrize("arguments", [{"encoder_lr_scale": 0.5}, {"head_warmup": 2}, {"layer_decay": 0.5}])
def test_settings_of_a_frozen_encoder_are_refused(arguments):
    with pytest.raises(ValueError, match=r"freeze: the encoder does not learn, so .* have no effect"):
        make(freeze=True, **arguments)
