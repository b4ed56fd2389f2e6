import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.segresnet import SegResNetEncoder


def spec(dims=2, channels=1):
    return ImageSpec(spatial_dims=dims, channels=channels, size=(32,) * dims, num_examples=4)


@pytest.mark.parametrize(("dims", "size"), [(2, (33, 47)), (3, (17, 20, 16))])
def test_maps_have_the_declared_channels_and_strides(dims, size):
    encoder = SegResNetEncoder(spec(dims, 2), width=4)
    maps = encoder.pyramid(torch.randn(2, 2, *size))
    assert [m.shape[1] for m in maps] == list(encoder.pyramid_dims)
    for m, stride in zip(maps, encoder.pyramid_strides, strict=True):
        assert tuple(m.shape[2:]) == tuple(-(-s // stride) for s in size)


def test_features_are_the_mean_of_the_coarsest_map():
    encoder = SegResNetEncoder(spec(), width=4, blocks=(1, 1, 2)).eval()
    x = torch.randn(2, 1, 32, 32)
    assert encoder.out_dim == 16
    torch.testing.assert_close(encoder(x), encoder.pyramid(x)[-1].mean(dim=(2, 3)))


def test_it_builds_on_the_meta_device():
    with torch.device("meta"):
        assert SegResNetEncoder(spec(3), width=512)(torch.empty(2, 1, 64, 64, 64)).shape == (2, 4096)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match="blocks: length: expected 2 or more, got 1"):
        SegResNetEncoder(spec(), blocks=(2,))
