import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.swin import SwinEncoder


def spec(dims=2, channels=1):
    return ImageSpec(spatial_dims=dims, channels=channels, size=(32,) * dims, num_examples=4)


def small(dims=2, channels=1, **arguments):
    arguments = {"width": 6, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window": 2, **arguments}
    return SwinEncoder(spec(dims, channels), **arguments)


@pytest.mark.parametrize(("dims", "size"), [(2, (33, 47)), (3, (17, 20, 16))])
def test_maps_have_the_declared_channels_and_strides(dims, size):
    encoder = small(dims, 2)
    maps = encoder.pyramid(torch.randn(2, 2, *size))
    assert [m.shape[1] for m in maps] == list(encoder.pyramid_dims)
    for m, stride in zip(maps, encoder.pyramid_strides, strict=True):
        assert tuple(m.shape[2:]) == tuple(-(-s // stride) for s in size)


def test_features_are_the_mean_of_the_coarsest_map():
    encoder = small().eval()
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(encoder(x), encoder.pyramid(x)[-1].mean(dim=(2, 3)))


def test_it_builds_on_the_meta_device():
    with torch.device("meta"):
        encoder = SwinEncoder(spec(3), width=768)
    assert all(p.device.type == "meta" for p in encoder.parameters())


def test_it_skips_blocks_while_training_only():
    encoder, x = small(drop_path=0.8), torch.randn(2, 1, 32, 32)
    assert not torch.equal(encoder(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))


def test_three_stages_are_refused():
    with pytest.raises(ValueError, match="expected four stages each, got 3 and 4"):
        small(depths=(2, 2, 2))


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="num_heads: 4 heads do not divide the 6 channels of stage 0"):
        small(num_heads=(4, 2, 2, 4))
