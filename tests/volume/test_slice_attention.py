import math

import pytest
import torch
from reference.slice_attention import grid_sample_1d, hat_matrix, multi_scale
from torch.nn import functional as F

from medgraph.volume.slice_attention import Full, Identity, MultiScale, SharedPoints, interpolate, pool_slices

KINDS = {
    "ms1d": MultiScale(),
    "dat1d": SharedPoints(num_heads=2, head_dim=8),
    "full": Full(),
    "none": Identity(),
}
LEARNED = ["ms1d", "dat1d", "full"]


def made(kind: str, dim: int = 16, dtype=torch.float64, spread: float = 1.0):
    """An attention whose offsets and weights depend on the queries, as after training."""
    module = KINDS[kind].make(dim).to(dtype)
    if kind == "ms1d":
        torch.nn.init.normal_(module.offsets.weight, std=spread)
        torch.nn.init.normal_(module.weights.weight, std=0.5)
        torch.nn.init.normal_(module.output.bias, std=0.1)
    return module.eval()


def everywhere(tokens):
    return torch.ones(tokens.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("sample", ["hat", "grid_sample"])
@pytest.mark.parametrize("n", [1, 2, 7, 20])
@pytest.mark.parametrize(
    ("dtype", "dim", "tolerance"), [(torch.float64, 16, 1e-10), (torch.float32, 128, 1e-5)], ids=["fp64", "fp32"]
)
def test_ms1d_equals_sampling_one_point_at_a_time(sample, n, dtype, dim, tolerance, rng):
    module = made("ms1d", dim, dtype, spread=1.0 if dtype == torch.float64 else 0.3)  # places far outside too
    queries, tokens = torch.randn(2, 1, n, dim, generator=rng, dtype=dtype)
    hat = lambda values, places: hat_matrix(places, len(values)) @ values  # noqa: E731
    with torch.no_grad():
        expected = multi_scale(module, queries[0], tokens[0], hat if sample == "hat" else grid_sample_1d)
        actual = module(queries, tokens, everywhere(tokens))[0]
    assert (actual - expected).abs().max() < tolerance


def test_ms1d_gradients_are_those_of_the_formula(rng):
    module = MultiScale(num_heads=2, num_levels=2, num_points=2).make(4).double()
    torch.nn.init.normal_(module.offsets.weight, std=0.3)
    queries, tokens = torch.randn(2, 2, 5, 4, generator=rng, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    call = lambda q, t: module(q, t, valid)  # noqa: E731
    assert torch.autograd.gradcheck(call, (queries.requires_grad_(), tokens.requires_grad_()))


def test_whole_places_are_a_plain_gather(rng):
    values = torch.randn(1, 6, 1, 3, generator=rng, dtype=torch.float64)
    places = torch.tensor([4.0, 0.0, 5.0, -1.0, 6.0]).double()[None, None, None]
    read = interpolate(values, places, torch.tensor([6]))[0, 0, 0]
    assert torch.equal(read[:3], values[0, [4, 0, 5], 0])
    assert torch.equal(read[3:], torch.zeros(2, 3).double())


def test_a_constant_sequence_gives_the_constant_inside(rng):
    values = torch.full((1, 9, 2, 3), 2.5, dtype=torch.float64)
    places = 8 * torch.rand(1, 4, 2, 5, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(
        interpolate(values, places, torch.tensor([9])), torch.full((1, 4, 2, 5, 3), 2.5).double()
    )


def test_values_at_distinct_places_differ(rng):
    """A sampler with its grid on the wrong axis reads the same value everywhere: rank 1."""
    values = torch.randn(1, 12, 1, 8, generator=rng)
    read = interpolate(values, torch.linspace(0.3, 10.7, 6)[None, None, None], torch.tensor([12]))[0, 0, 0]
    assert torch.linalg.matrix_rank(read) == 6


def test_pooling_takes_means_of_what_is_there():
    tokens = torch.arange(10.0).reshape(2, 5, 1)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    pooled, lengths = pool_slices(tokens, valid, 2)
    assert pooled[..., 0].tolist() == [[0.5, 2.5, 4.0], [5.5, 7.0, 0.0]]
    assert lengths.tolist() == [3, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3, 7, 64])
def test_any_number_of_slices_works_with_the_same_weights(kind, n, rng):
    module = made(kind)
    tokens = torch.randn(2, n, 16, generator=rng, dtype=torch.float64)
    assert module(tokens, tokens, everywhere(tokens)).shape == (2, n, 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_padding_and_other_volumes_change_nothing(kind, length, rng):
    module = made(kind)
    tokens = torch.randn(2, 11, 16, generator=rng, dtype=torch.float64)
    valid = everywhere(tokens)
    valid[0, length:] = False
    together = module(tokens, tokens, valid)
    for row, n in ((0, length), (1, 11)):
        alone = tokens[row : row + 1, :n]
        torch.testing.assert_close(together[row, :n], module(alone, alone, everywhere(alone))[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LEARNED)
def test_gradient_reaches_every_parameter(kind, rng):
    module = made(kind)
    tokens = torch.randn(2, 9, 16, generator=rng, dtype=torch.float64)
    module(tokens, tokens, everywhere(tokens)).square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().sum() < 1e-12] == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_slice_attends_to_has_weights_that_sum_to_one(kind, rng):
    tokens = torch.randn(2, 9, 16, generator=rng, dtype=torch.float64)
    valid = everywhere(tokens)
    valid[1, 6:] = False
    seen = made(kind).attended(tokens, tokens, valid)
    assert seen.positions.shape == seen.weights.shape
    total = seen.weights[valid].sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("kind", [*(MultiScale(num_levels=n) for n in (1, 2, 4)), KINDS["dat1d"], KINDS["full"]])
def test_what_is_told_times_the_values_is_the_output(kind, rng):
    module = kind.make(16).double().eval()
    for name in ("offsets", "weights"):
        if hasattr(module, name):
            torch.nn.init.normal_(getattr(module, name).weight, std=0.5)
    queries, tokens = torch.randn(2, 2, 9, 16, generator=rng, dtype=torch.float64)
    valid = everywhere(tokens)
    valid[1, 6:] = False
    with torch.no_grad():
        seen = module.attended(queries, tokens, valid).of_slices  # (b, n, h, n)
        if isinstance(kind, Full):
            weight, bias = (x.chunk(3)[2] for x in (module.attention.in_proj_weight, module.attention.in_proj_bias))
            output = module.attention.out_proj
        else:
            weight, bias, output = module.values.weight, module.values.bias, module.output
        values = (tokens @ weight.T).unflatten(2, (kind.num_heads, -1))
        heads = torch.einsum("bnhj,bjhc->bnhc", seen, values).flatten(2)
        expected = output(heads if bias is None else heads + bias)
        actual = module(queries, tokens, valid)
    torch.testing.assert_close(actual[valid], expected[valid], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 4, 7, 20])
def test_dat1d_equals_its_formula_one_slice_and_place_at_a_time(n, rng):
    module = made("dat1d")
    torch.nn.init.normal_(module.offset.weight)
    queries, tokens = torch.randn(2, 1, n, 16, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        expected, reach = shared_points(module, queries[0], tokens[0])
        torch.testing.assert_close(module(queries, tokens, everywhere(tokens))[0], expected, rtol=0, atol=1e-12)
    assert reach < 2


def shared_points(module, queries, tokens):
    """The attention of one volume (n, d), and how far its furthest place is from where it started."""
    n, heads, width = len(tokens), module.num_heads, module.head_dim
    q, count = module.queries(queries), math.ceil(n / 4)
    places, furthest = [], 0.0
    for m in range(count):
        spread = module.spread.bias.clone()
        for t in range(6):
            if 0 <= 4 * m + t - 1 < n:
                spread += module.spread.weight[:, 0, t] * q[4 * m + t - 1]
        offset = 2 * math.tanh(float(module.offset.weight[0, :, 0] @ F.gelu(spread)))
        furthest = max(furthest, abs(offset))
        places.append((m + 0.5) * n / count - 0.5 + offset)
    read = hat_matrix(torch.tensor(places, dtype=tokens.dtype), n) @ tokens
    keys, values = module.keys(read), module.values(read)
    rows = []
    for i in range(n):
        parts = []
        for head in range(heads):
            own, logits = slice(head * width, (head + 1) * width), []
            for m, place in enumerate(places):
                apart = math.copysign(math.log(1 + abs(i - place)), i - place)
                bias = module.bias(torch.tensor([apart], dtype=tokens.dtype))[head]
                logits.append(q[i, own] @ keys[m, own] / math.sqrt(width) + bias)
            parts.append(torch.stack(logits).softmax(dim=0) @ values[:, own])
        rows.append(module.output(torch.cat(parts)))
    return torch.stack(rows), furthest


def test_places_are_reported_in_slices_of_the_volume():
    seen = (
        MultiScale(num_heads=2, num_levels=2, num_points=1)
        .make(4)
        .attended(*torch.zeros(2, 1, 8, 4), torch.ones(1, 8, dtype=torch.bool))
    )
    assert seen.positions[0, 3].tolist() == [[4.0, 5.0], [2.0, 1.0]]  # one step ahead, behind; of 1 and of 2 slices


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiScale(num_heads=0), "num_heads: expected 1 or more, got 0"),
        (lambda: MultiScale(num_levels=0), "num_levels: expected 1 or more, got 0"),
        (lambda: MultiScale(num_points=0), "num_points: expected 1 or more, got 0"),
        (lambda: SharedPoints(head_dim=0), "head_dim: expected 1 or more, got 0"),
        (lambda: MultiScale(num_heads=3).make(16), "3 heads do not divide the token width 16"),
        (lambda: Full(num_heads=3).make(16), "3 heads do not divide the token width 16"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(ValueError, match=words):
        make()
