import pytest
import torch
from reference.sepclr_parts import SIZES, TinyEncoder, encoder, spec

from medgraph.sepclr.encoder import CommonSalientEncoder


@pytest.mark.parametrize("dims", [2, 3])
def test_features_are_both_parts_side_by_side(dims, rng):
    both = encoder(dims).eval()
    images = torch.rand(3, 1, *SIZES[dims], generator=rng)
    parts = both.parts(images)
    assert parts.common.shape == (3, 6)
    assert parts.salient.shape == (3, 4)
    assert torch.equal(both(images), torch.cat([parts.common, parts.salient], dim=1))
    assert both.out_dim == 10
    assert [m.shape[1] for m in both.pyramid(images)] == list(both.pyramid_dims)


def test_no_parameter_is_shared():
    both = encoder()
    assert not {id(p) for p in both.common.parameters()} & {id(p) for p in both.salient.parameters()}
    one = TinyEncoder()
    with pytest.raises(ValueError, match="salient_encoder: shares parameters with common_encoder"):
        CommonSalientEncoder(spec(), one, one)


@pytest.mark.parametrize("name", ["common_dim", "salient_dim"])
def test_a_width_of_nothing_is_told_by_its_key(name):
    with pytest.raises(ValueError, match=f"^{name}: expected 1 or more, got 0"):
        CommonSalientEncoder(spec(), TinyEncoder(), TinyEncoder(), **{name: 0})
