import pytest
import torch

from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.dice import DiceCrossEntropy
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.volume_segmentation_augment import VolumeSegmentationAugment
from medgraph.volume.patch_segmentation import PatchSegmentation

SPEC = ImageSpec(3, 1, (16, 16, 16), 8, ("background", "box"))


def make(**arguments) -> PatchSegmentation:
    torch.manual_seed(3)
    encoder = ResNetEncoder(SPEC, depth=18, width=4)
    return PatchSegmentation(SPEC, encoder, VolumeSegmentationAugment(), DiceCrossEntropy(), **arguments)


@pytest.mark.slow
def test_it_learns_a_bright_box_and_finds_it_in_a_larger_volume(rng):
    method = make()
    images = 0.2 * torch.rand(4, 1, 16, 16, 16, generator=rng)
    labels = torch.zeros(4, 16, 16, 16, dtype=torch.long)
    labels[:, 4:12, 4:12, 4:12] = 1
    images[labels[:, None] == 1] += 0.8
    batch = LabelledImageBatch(torch.arange(4), images, labels)
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-3)
    for number in range(25):
        optimizer.zero_grad()
        method(batch, Step(0, number, number))["loss"].backward()
        optimizer.step()
    whole = 0.2 * torch.rand(1, 1, 25, 20, 16, generator=rng)
    whole[:, :, 10:18, 4:12, 4:12] += 0.8
    predicted = method.eval().predict(whole).argmax(dim=1)
    assert predicted.shape == (1, 25, 20, 16)
    assert (predicted == (whole[:, 0] > 0.5)).float().mean() > 0.95


def test_flips_of_all_three_axes_are_averaged(rng):
    x = torch.rand(1, 1, 16, 16, 16, generator=rng)
    method = make(test_flips=(0, 1, 2)).eval()
    torch.testing.assert_close(method.predict(x.flip(2)), method.predict(x).flip(2), rtol=1e-4, atol=1e-4)


def test_every_parameter_is_in_one_group():
    method = make(encoder_lr_scale=0.1)
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters()}


def test_slices_are_refused():
    flat = ImageSpec(2, 1, (16, 16), 8, ("background", "box"))
    with pytest.raises(ValueError, match="the data are 2D and declare 2 classes; expected labelled_volumes"):
        PatchSegmentation(flat, ResNetEncoder(flat, width=4), VolumeSegmentationAugment(), DiceCrossEntropy())
