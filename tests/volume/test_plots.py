import pytest
import torch
from PIL import Image

from medgraph.volume.plots import attention_map, plot_attention, plot_volumes
from medgraph.volume.slice_attention import Attended, Full, Identity, MultiScale


@pytest.mark.parametrize(("levels", "row"), [(1, [0.0, 0.25, 0.75, 0.0, 0.0]), (2, [0.15, 0.65, 0.1, 0.1, 0.0])])
def test_a_place_between_two_slices_is_shared_by_both(levels, row):
    """On the second scale each place stands for two slices."""
    attention = MultiScale(num_heads=1, num_levels=levels, num_points=1).make(4)
    with torch.no_grad():
        attention.offsets.bias.fill_(0.75 if levels == 1 else 0.0)
    tokens = torch.zeros(1, 5, 4)
    drawn = attention_map(attention.attended(tokens, tokens, torch.ones(1, 5, dtype=torch.bool)))[0, 1]
    torch.testing.assert_close(drawn, torch.tensor(row))


def test_no_attention_is_the_diagonal():
    seen = Identity().make(4).attended(*torch.zeros(2, 1, 3, 4), torch.ones(1, 3, dtype=torch.bool))
    assert torch.equal(attention_map(seen)[0], torch.eye(3))


def test_full_attention_is_its_weights(rng):
    tokens = torch.randn(1, 5, 8, generator=rng)
    attention = Full(num_heads=2).make(8)
    with torch.no_grad():
        seen = attention.attended(tokens, tokens, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(attention_map(seen), seen.weights.mean(dim=2))


def test_a_picture_is_written_for_each_layer(tmp_path, rng):
    seen = Attended(4 * torch.rand(1, 5, 2, 3, generator=rng), torch.full((1, 5, 2, 3), 1 / 3), torch.ones(1, 5, 2, 5))
    for name, layers in (("one", [seen]), ("two", [seen, seen])):
        plot_attention(tmp_path / f"{name}.png", "volume 7", layers)
    heights = []
    for name in ("one", "two"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            heights.append(picture.height)
    assert heights[1] == 2 * heights[0]


def test_the_encoder_keeps_its_mode(make_encoder, make_stacks, tmp_path):
    encoder = make_encoder().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    plot_volumes(tmp_path, encoder, make_stacks((6, 5)))
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
