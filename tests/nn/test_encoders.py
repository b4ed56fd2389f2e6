import os
import subprocess
import sys

import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder


def spec(dims=2, channels=1):
    return ImageSpec(spatial_dims=dims, channels=channels, size=(32,) * dims, num_examples=4)


@pytest.mark.parametrize(("dims", "size"), [(2, (33, 47)), (3, (17, 20, 16))])
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_maps_have_the_declared_channels_and_strides(dims, size, stem):
    encoder = ResNetEncoder(spec(dims, 2), width=4, stem=stem)
    maps = encoder.pyramid(torch.randn(2, 2, *size))
    assert [m.shape[1] for m in maps] == list(encoder.pyramid_dims)
    for m, stride in zip(maps, encoder.pyramid_strides, strict=True):
        assert tuple(m.shape[2:]) == tuple(-(-s // stride) for s in size)


@pytest.mark.parametrize(("depth", "out_dim"), [(10, 32), (18, 32), (34, 32), (50, 128), (101, 128)])
def test_features_are_the_mean_of_the_coarsest_map(depth, out_dim):
    encoder = ResNetEncoder(spec(), depth=depth, width=4).eval()
    x = torch.randn(2, 1, 32, 32)
    assert encoder.out_dim == out_dim
    torch.testing.assert_close(encoder(x), encoder.pyramid(x)[-1].mean(dim=(2, 3)))


def test_it_builds_on_the_meta_device():
    with torch.device("meta"):
        assert ResNetEncoder(spec(3), depth=50, width=512)(torch.empty(2, 1, 64, 64, 64)).shape == (2, 16384)


def test_unknown_stem_and_depth():
    with pytest.raises(ValueError, match="stem: expected one of 'small', 'imagenet', got 'big'"):
        ResNetEncoder(spec(), stem="big")
    with pytest.raises(ValueError, match="depth: expected one of 10, 18, 34, 50, 101, 152, 200, got 19"):
        ResNetEncoder(spec(), depth=19)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("width", "channels_last"), [(8, False), (15, False), (16, True)])
def test_narrow_maps_are_not_channels_last(width, channels_last, channels):
    images = torch.rand(2, channels, 32, 32).contiguous(memory_format=torch.channels_last)
    maps = ResNetEncoder(spec(channels=channels), width=width).pyramid(images)
    assert [m.is_contiguous(memory_format=torch.channels_last) for m in maps] == [channels_last] * 4


COLOURS = """
import torch
from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder

encoder = ResNetEncoder(ImageSpec(spatial_dims=2, channels=3, size=(32, 32), num_examples=9), width=4)
for step in range(60):
    images = torch.rand(16 + step % 5, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    encoder(images).square().sum().backward()
"""


LARGE = """
import torch
from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder

encoder = ResNetEncoder(ImageSpec(spatial_dims=2, channels=1, size=(128, 128), num_examples=9), width=8)
for size in (112, 128):
    images = torch.rand(4, 1, size, size).contiguous(memory_format=torch.channels_last)
    encoder(images).square().sum().backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize("steps", [COLOURS, LARGE])
def test_a_narrow_one_leaves_the_memory_beside_its_maps_alone(steps):
    checked = {**os.environ, "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}  # glibc then ends a process that overwrote
    done = subprocess.run([sys.executable, "-c", steps], env=checked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
