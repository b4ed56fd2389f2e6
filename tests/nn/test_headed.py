import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder
from medgraph.nn.headed import HeadedEncoder


@pytest.mark.parametrize("dims", [2, 3])
def test_features_have_the_chosen_width_and_maps_stay(dims, rng):
    spec = ImageSpec(dims, 1, (16,) * dims, 4)
    encoder = HeadedEncoder(spec, ResNetEncoder(spec, width=4), out_dim=5)
    images = torch.rand(3, 1, *(16,) * dims, generator=rng)
    assert encoder(images).shape == (3, encoder.out_dim) == (3, 5)
    assert [m.shape[1] for m in encoder.pyramid(images)] == list(encoder.pyramid_dims)


def test_refuses_wrong_arguments():
    spec = ImageSpec(2, 1, (16, 16), 4)
    with pytest.raises(ValueError, match="out_dim: expected 1 or more, got 0"):
        HeadedEncoder(spec, ResNetEncoder(spec, width=4), out_dim=0)
