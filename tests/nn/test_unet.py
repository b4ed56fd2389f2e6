import pytest
import torch

from medgraph.data.spec import ImageSpec
from medgraph.nn.encoders import ResNetEncoder
from medgraph.nn.unet import UNetDecoder


@pytest.mark.parametrize("size", [(47, 33), (17, 19, 21)])
def test_logits_have_the_size_of_the_input(size):
    dims = len(size)
    encoder = ResNetEncoder(ImageSpec(dims, 1, size, 4), width=4)
    decoder = UNetDecoder(encoder.pyramid_dims, encoder.pyramid_strides, dims, num_classes=3, in_channels=1)
    x = torch.randn(2, 1, *size)
    logits = decoder(x, encoder.pyramid(x))
    assert logits.shape == (2, 3, *size)
    logits.sum().backward()
    assert all(p.grad is not None for p in [*decoder.parameters(), *encoder.parameters()])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="expected the same length"):
        UNetDecoder((4, 8), (2,), 2, num_classes=3, in_channels=1)
