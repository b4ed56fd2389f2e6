import math

import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.conv import ConvEncoder
from medgraph.nn.encoders import ResNetEncoder
from medgraph.nn.ensemble import Ensemble
from medgraph.volume.encoder import VolumeEncoder
from medgraph.volume.slice_attention import Identity

SPEC = ImageSpec(2, 1, (16, 16), 4)


def members(number, width=4):
    return [ResNetEncoder(SPEC, width=width).eval() for _ in range(number)]


def test_vectors_lie_side_by_side_and_squared_distances_are_means_over_members(rng):
    encoders = members(3)
    joined = Ensemble(encoders).eval()
    images = torch.rand(5, 1, 16, 16, generator=rng)
    vectors = joined(images)
    assert vectors.shape == (5, joined.out_dim) == (5, 3 * encoders[0].out_dim)
    for encoder, part in zip(encoders, vectors.chunk(3, dim=1), strict=True):
        torch.testing.assert_close(part * math.sqrt(3), encoder(images))
    means = torch.stack([torch.cdist(e(images), e(images)) ** 2 for e in encoders]).mean(dim=0)
    torch.testing.assert_close(torch.cdist(vectors, vectors) ** 2, means, rtol=1e-3, atol=1e-5)


def test_maps_lie_side_by_side(rng):
    joined = Ensemble(members(2)).eval()
    maps = joined.pyramid(torch.rand(2, 1, 16, 16, generator=rng))
    assert [each.shape[1] for each in maps] == list(joined.pyramid_dims)
    assert joined.pyramid_strides == joined.encoders[0].pyramid_strides
    assert (joined.spatial_dims, joined.in_channels) == (2, 1)


def test_of_encoders_of_volumes_it_has_a_slice_encoder(rng):
    volumes = [VolumeEncoder(SPEC, ResNetEncoder(SPEC, width=4), Identity(), dim=8, num_layers=1) for _ in "12"]
    joined = Ensemble(volumes).eval()
    assert joined.takes_stacks
    assert not hasattr(joined, "pyramid_dims")
    images = torch.rand(2, 1, 16, 16, generator=rng)
    first = joined.slice_encoder(images).chunk(2, dim=1)[0]
    torch.testing.assert_close(first * math.sqrt(2), volumes[0].slice_encoder(images))


@pytest.mark.parametrize(
    ("encoders", "told"),
    [
        ([], "encoders: expected at least one, got none"),
        ([*members(1), ConvEncoder(SPEC)], "encoders: expected one architecture, got ResNetEncoder, ConvEncoder"),
        ([ConvEncoder(SPEC, depth=2), ConvEncoder(SPEC, depth=3)], "encoders: expected one architecture"),
    ],
)
def test_refuses_what_it_cannot_join(encoders, told):
    with pytest.raises(ValueError, match=told):
        Ensemble(encoders)
