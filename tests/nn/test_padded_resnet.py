"""Shortcuts without weights give MONAI's features, and the gradient that MONAI's cut off."""

import pytest
import torch
from monai.networks.nets.resnet import resnet18, resnet50

from medgraph import config
from medgraph.data.spec import ImageSpec
from medgraph.nn.padded_resnet import PaddedResNetEncoder


def spec(dims=3, channels=1):
    return ImageSpec(spatial_dims=dims, channels=channels, size=(32,) * dims, num_examples=4)


@pytest.mark.parametrize(
    ("depth", "made", "dims", "size"), [(18, resnet18, 3, (33, 36, 40)), (50, resnet50, 2, (47, 64))]
)
def test_it_gives_the_features_of_monai(depth, made, dims, size):
    net = made(
        spatial_dims=dims,
        n_input_channels=1,
        widen_factor=0.125,
        shortcut_type="A",
        conv1_t_stride=2,
        feed_forward=False,
    ).eval()
    encoder = PaddedResNetEncoder(spec(dims), depth, width=8, stem="imagenet").eval()
    encoder.network.load_state_dict(net.state_dict())
    assert not any("downsample" in name for name in encoder.state_dict())
    x = torch.randn(2, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), net(x), rtol=1e-5, atol=1e-5)
        assert [m.shape[1] for m in encoder.pyramid(x)] == list(encoder.pyramid_dims)


def test_the_gradient_passes_the_shortcut():
    block = PaddedResNetEncoder(spec(2), width=4).eval().network.layer2[0]
    for parameter in block.parameters():
        parameter.data.zero_()  # nothing passes but the shortcut
    x = torch.rand(1, 4, 6, 6, requires_grad=True)
    block(x).sum().backward()
    assert x.grad[0, :, ::2, ::2].eq(1).all()
    assert x.grad.sum() == 4 * 9


def test_it_is_a_part_of_its_own_in_a_config():
    node = config.with_defaults({"name": "resnet_padded", "width": 4}, "encoders")
    assert node == {"name": "resnet_padded", "depth": 18, "width": 4, "stem": "small"}
    assert isinstance(config.build(node, "encoders", spec=spec()), PaddedResNetEncoder)
    with torch.device("meta"):
        assert config.build(node, "encoders", spec=spec())(torch.empty(2, 1, 64, 64, 64)).shape == (2, 32)
