import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder
from medgraph.volume.encoder import VolumeEncoder
from medgraph.volume.slice_attention import MultiScale

SPEC = ImageSpec(spatial_dims=2, channels=1, size=(16, 16), num_examples=8)


def made() -> VolumeEncoder:
    torch.manual_seed(1)
    return VolumeEncoder(SPEC, ResNetEncoder(SPEC, width=4), MultiScale(), dim=16).eval()


def test_a_volume_is_the_mean_of_its_contextual_tokens(rng):
    encoder = made()
    volumes = torch.rand(2, 5, 1, 16, 16, generator=rng)
    vectors = encoder(volumes)
    assert vectors.shape == (2, encoder.out_dim)
    tokens = encoder.tokens(encoder.slice_encoder.pyramid(volumes[0]))
    torch.testing.assert_close(vectors[0], encoder.transformer(tokens[None])[0].mean(dim=0), rtol=0, atol=1e-5)


def test_padding_is_never_encoded(rng):
    encoder = made()
    volumes = torch.rand(2, 5, 1, 16, 16, generator=rng)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    volumes[1, 3:] = torch.nan
    vectors = encoder(volumes, valid)
    torch.testing.assert_close(vectors[1], encoder(volumes[1:, :3])[0], rtol=0, atol=1e-5)


def test_maps_are_those_of_the_slice_encoder(rng):
    """A U-Net built on the slice encoder sees the very maps that pre-training shaped (10.11)."""
    encoder = made()
    slices = torch.rand(3, 1, 16, 16, generator=rng)
    alone = ResNetEncoder(SPEC, width=4).eval()
    alone.load_state_dict(encoder.slice_encoder.state_dict())
    for ours, theirs in zip(encoder.slice_encoder.pyramid(slices), alone.pyramid(slices), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_attended_reports_every_layer(rng):
    seen = made().attended(torch.rand(1, 6, 1, 16, 16, generator=rng), torch.ones(1, 6, dtype=torch.bool))
    assert [s.positions.shape for s in seen] == [(1, 6, 4, 8)] * 2
