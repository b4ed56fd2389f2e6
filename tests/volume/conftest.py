"""Small volumes, and the parts that every method on volumes is made of."""

import pytest
import torch

from medgraph.data.batches import StackBatch
from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder
from medgraph.volume.encoder import VolumeEncoder
from medgraph.volume.slice_attention import MultiScale


@pytest.fixture
def spec() -> ImageSpec:
    """Sixteen volumes of 5 to 8 slices of 16 x 16."""
    return ImageSpec(2, 1, (16, 16), 16, num_volumes=16, num_slices=(5, 8))


@pytest.fixture
def make_encoder(spec):
    """Makes a volume encoder, the same each time."""

    def make(attention=None, **arguments) -> VolumeEncoder:
        torch.manual_seed(3)
        slices = ResNetEncoder(spec, width=4)
        return VolumeEncoder(spec, slices, attention or MultiScale(), dim=16, num_layers=1, **arguments)

    return make


@pytest.fixture
def make_stacks(rng):
    """Makes a batch of volumes with the given ids and lengths."""

    def make(lengths=(8, 5, 8, 7), first_id: int = 0) -> StackBatch:
        n = max(lengths)
        valid = torch.arange(n) < torch.tensor(lengths)[:, None]
        slices = torch.rand(len(lengths), n, 1, 16, 16, generator=rng) * valid[:, :, None, None, None]
        ids = torch.arange(first_id, first_id + len(lengths))
        numbers = torch.where(valid, 8 * ids[:, None] + torch.arange(n), -1)
        return StackBatch(ids, slices, valid, numbers, ids % 2)

    return make
