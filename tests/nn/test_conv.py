import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.conv import ConvEncoder


def spec(dims=2, channels=1):
    return ImageSpec(spatial_dims=dims, channels=channels, size=(32,) * dims, num_examples=4)


@pytest.mark.parametrize(("dims", "size"), [(2, (33, 47)), (3, (17, 20, 16))])
@pytest.mark.parametrize("stride", [1, 2])
def test_maps_have_the_declared_channels_and_strides(dims, size, stride):
    encoder = ConvEncoder(spec(dims, 3), width=4, depth=4, stride=stride)
    maps = encoder.pyramid(torch.randn(2, 3, *size))
    assert [m.shape[1] for m in maps] == list(encoder.pyramid_dims) == [4, 8, 16, 32]
    for m, step in zip(maps, encoder.pyramid_strides, strict=True):
        assert tuple(m.shape[2:]) == tuple(-(-s // step) for s in size)


def test_features_are_the_mean_of_the_coarsest_map():
    encoder = ConvEncoder(spec(), width=4).eval()
    x = torch.randn(2, 1, 32, 32)
    assert encoder.out_dim == 16
    torch.testing.assert_close(encoder(x), encoder.pyramid(x)[-1].mean(dim=(2, 3)))


def test_it_is_so_many_convolutions():
    names = [type(module).__name__ for module in ConvEncoder(spec(3)).modules()]
    assert [names.count(name) for name in ("Conv3d", "BatchNorm3d", "ReLU")] == [3, 3, 3]


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="depth: expected 2 or more, got 1"):
        ConvEncoder(spec(), depth=1)
    with pytest.raises(ValueError, match="stride: expected one of 1, 2, got 4"):
        ConvEncoder(spec(), stride=4)
