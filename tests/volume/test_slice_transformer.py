import pytest
import torch
from torch.nn import functional as F

from medgraph.volume.encoder import mean_slices
from medgraph.volume.slice_attention import Full, Identity, MultiScale, SharedPoints
from medgraph.volume.slice_transformer import SliceTransformer, sines


def made(attention, dim: int = 32, **arguments) -> SliceTransformer:
    torch.manual_seed(5)
    return SliceTransformer(dim, attention, **arguments).double().eval()


@torch.no_grad()
def vector(transformer, tokens):
    contextual = transformer(tokens)
    return F.normalize(mean_slices(contextual, torch.ones(tokens.shape[:2], dtype=torch.bool)), dim=1)


def moved(transformer, tokens, order) -> float:
    """Cosine distance of the volume's vector before and after reordering its slices."""
    return 1 - float(F.cosine_similarity(vector(transformer, tokens), vector(transformer, tokens[:, order])).max())


@pytest.fixture
def tokens(rng):
    return torch.randn(4, 12, 32, generator=rng, dtype=torch.float64)


def test_full_without_position_cannot_see_the_order(tokens, rng):
    transformer = made(Full(), position="none")
    order = torch.randperm(12, generator=rng)
    torch.testing.assert_close(transformer(tokens)[:, order], transformer(tokens[:, order]), rtol=0, atol=1e-10)
    assert moved(transformer, tokens, order) < 1e-10


def test_no_attention_cannot_see_the_order(tokens, rng):
    assert moved(made(Identity()), tokens, torch.randperm(12, generator=rng)) < 1e-10


@pytest.mark.parametrize("n", [7, 12, 40])
@pytest.mark.parametrize("change", ["reversal", "shuffle"])
def test_ms1d_sees_the_order_already_untrained(n, change, rng):
    """With attention over coordinates in place of slices, as the authors' release has it, this is 3e-6."""
    tokens = torch.randn(8, n, 32, generator=rng, dtype=torch.float64)
    order = torch.arange(n).flip(0) if change == "reversal" else torch.randperm(n, generator=rng)
    transformer = made(MultiScale())
    distance = 1 - F.cosine_similarity(vector(transformer, tokens), vector(transformer, tokens[:, order]))
    assert distance.mean() > 0.01


@pytest.mark.parametrize("position", ["slice", "relative"])
def test_full_with_position_sees_the_order(tokens, position):
    assert moved(made(Full(), position=position), tokens, torch.arange(12).flip(0)) > 1e-6


@pytest.mark.parametrize("attention", [MultiScale(), Full(), SharedPoints(num_heads=2, head_dim=8)], ids=repr)
def test_a_slice_speaks_to_others(attention, rng):
    """Replacing one slice must move another one's token by 5 % or more of its own change (10.7c)."""
    tokens = torch.randn(1, 9, 32, generator=rng, dtype=torch.float64)
    changed = tokens.clone()
    changed[0, 4] = torch.randn(32, generator=rng, dtype=torch.float64)
    transformer = made(attention)
    change = (transformer(changed) - transformer(tokens))[0].norm(dim=1)
    others = torch.cat([change[:4], change[5:]]).max() / change[4]
    assert others >= (0.05 if isinstance(attention, MultiScale) else 0.005)


READS = ("in_proj_weight", "feed_forward.0.weight", "offsets.weight", "weights.weight", "values.weight")
WRITES = (".norms.", "out_proj", "attention.output", "feed_forward.2")


@pytest.mark.parametrize("attention", [MultiScale(), Full()], ids=repr)
def test_renaming_the_channels_changes_nothing(attention, tokens, rng):
    """Coordinates are channels: a permutation shared by inputs and weights only renames them (10.7d)."""
    transformer, renamed = (made(attention, position="none") for _ in range(2))
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    order = torch.randperm(32, generator=rng)
    state = {}
    for name, value in transformer.state_dict().items():
        value = value[:, order] if name.endswith(READS) else value
        state[name] = value[order] if any(word in name for word in WRITES) else value
    renamed.load_state_dict(state)
    torch.testing.assert_close(renamed(tokens[..., order]), transformer(tokens)[..., order], rtol=0, atol=1e-12)
    assert (renamed(tokens) - transformer(tokens)[..., order]).abs().max() > 0.1


@pytest.mark.parametrize("attention", [MultiScale(), SharedPoints(2, 8), Full(), Identity()], ids=repr)
@pytest.mark.parametrize("position", ["slice", "relative", "none"])
def test_padding_changes_nothing(attention, position, tokens):
    transformer = made(attention, position=position)
    valid = torch.ones(4, 12, dtype=torch.bool)
    valid[1, 5:] = False
    noisy = tokens.clone()
    noisy[1, 5:] = 1e3
    torch.testing.assert_close(transformer(noisy, valid)[1, :5], transformer(tokens[1:2, :5])[0], rtol=0, atol=1e-10)
    vectors = mean_slices(transformer(noisy, valid), valid)
    torch.testing.assert_close(vectors[1], transformer(tokens[1:2, :5])[0].mean(dim=0), rtol=0, atol=1e-10)


def test_dropout_stands_where_it_is_told(tokens):
    outside = made(MultiScale(), num_layers=1, dropout=0.5, dropout_place="output").train()
    inside = made(MultiScale(), num_layers=1, dropout=0.5, dropout_place="branch").train()
    assert (outside(tokens) == 0).double().mean() > 0.4  # what is dropped after the norm arrives as 0
    assert (inside(tokens) == 0).sum() == 0


def test_attended_says_one_thing_per_layer(tokens):
    assert len(made(MultiScale(), num_layers=3).attended(tokens)) == 3


def test_positions_of_slices_differ():
    found = sines(torch.arange(64.0)[None], 15)[0]
    assert found.shape == (64, 15)
    assert torch.pdist(found).min() > 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"position": "left"}, "position: expected one of 'slice', 'relative', 'none', got 'left'"),
        ({"dropout_place": "x"}, "dropout_place: expected one of 'branch', 'output', got 'x'"),
        ({"dropout": 1.0}, "dropout: expected a number from 0.0 to 0.99, got 1.0"),
        ({"num_layers": 0}, "num_layers: expected 1 or more, got 0"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        SliceTransformer(32, MultiScale(), **arguments)
