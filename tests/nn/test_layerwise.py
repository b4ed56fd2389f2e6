import pytest
import torch
from torch import nn

from medgraph.data.spec import ImageSpec
from medgraph.nn.conv import ConvEncoder
from medgraph.nn.encoders import ResNetEncoder
from medgraph.nn.headed import HeadedEncoder
from medgraph.nn.layerwise import layerwise_groups
from medgraph.nn.segresnet import SegResNetEncoder
from medgraph.nn.swin import SwinEncoder

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(32, 32), num_examples=4)


def test_rates_fall_from_the_last_level_to_the_image():
    groups = layerwise_groups(ResNetEncoder(SPEC, width=4), 0.5, 0.8)
    assert [g["lr_scale"] for g in groups] == pytest.approx([0.5 * 0.8**k for k in (4, 3, 2, 1, 0)])
    assert groups[0]["params"][0].shape == (4, 1, 3, 3)  # the stem


def headed(spec):
    return HeadedEncoder(spec, ResNetEncoder(spec))


@pytest.mark.parametrize("make", [ConvEncoder, ResNetEncoder, SegResNetEncoder, SwinEncoder, headed])
def test_every_parameter_is_in_one_level(make):
    with torch.device("meta"):
        encoder = make(SPEC)
    grouped = [id(p) for group in layerwise_groups(encoder, 1.0, 0.9) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in encoder.parameters())


def test_no_decay_needs_no_levels():
    (group,) = layerwise_groups(nn.Linear(2, 2), 0.1, 1.0)
    assert (group["lr_scale"], len(group["params"])) == (0.1, 2)


def test_an_encoder_without_levels_is_refused():
    with pytest.raises(ValueError, match="layer_decay: Linear names no levels to decay along; set it to 1"):
        layerwise_groups(nn.Linear(2, 2), 1.0, 0.5)
