import torch
from spawned import run_in_processes

from medgraph.volume.tokens import TokenMap


def maps(rng, n=6):
    return [torch.rand(n, c, s, s, generator=rng) for c, s in ((3, 8), (5, 4))]


def test_a_token_is_linear_in_the_unit_means_of_all_maps(rng):
    pyramid = maps(rng)
    tokens = TokenMap((3, 5), 4)
    pooled = [m.mean(dim=(2, 3)) for m in pyramid]
    joined = torch.cat([p / p.norm(dim=1, keepdim=True) for p in pooled], dim=1)
    expected = joined @ tokens.linear.weight.T + tokens.linear.bias
    torch.testing.assert_close(tokens(pyramid), expected)


def test_brightness_of_a_map_does_not_matter(rng):
    pyramid, tokens = maps(rng), TokenMap((3, 5), 4)
    torch.testing.assert_close(tokens([7 * pyramid[0], pyramid[1]]), tokens(pyramid))


def test_the_coarsest_map_can_count_twice():
    assert TokenMap((3, 5), 4, repeat_last=True).linear.in_features == 13


def test_fitted_tokens_have_mean_0_and_deviation_1_and_are_saved(rng):
    pyramid, tokens = maps(rng, 50), TokenMap((3, 5), 4)
    with torch.no_grad():
        tokens.fit_(tokens(pyramid))
        tokens.fit_(tokens(pyramid))  # fitting again changes nothing
    found = tokens(pyramid)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(4), rtol=0, atol=1e-4)
    again = TokenMap((3, 5), 4)
    again.load_state_dict(tokens.state_dict())
    assert torch.equal(again(pyramid), found)


def test_a_channel_that_does_not_vary_keeps_its_scale():
    tokens = TokenMap((3,), 2)
    tokens.fit_(torch.ones(5, 2))
    assert tokens.std.tolist() == [1.0, 1.0]


def test_by_batch_it_is_a_batch_norm_whose_statistics_are_stored(rng):
    tokens, norm = TokenMap((3, 5), 4, by_batch=True).double(), torch.nn.BatchNorm1d(4, affine=False).double()
    plain = TokenMap((3, 5), 4).double()
    plain.load_state_dict(tokens.state_dict())
    for _ in range(3):
        pyramid = [m.double() for m in maps(rng, 500)]
        raw = plain(pyramid)
        found = tokens(pyramid)
        torch.testing.assert_close(found, norm(raw))
        torch.testing.assert_close(tokens.mean, norm.running_mean)
        torch.testing.assert_close(tokens.std.square(), norm.running_var, rtol=1e-2, atol=1e-4)  # n against n - 1
    weights = torch.rand(found.shape, generator=rng, dtype=torch.float64)
    theirs = torch.autograd.grad((norm(raw) * weights).sum(), plain.linear.weight)[0]
    ours = torch.autograd.grad((found * weights).sum(), tokens.linear.weight)[0]
    torch.testing.assert_close(ours, theirs)
    tokens.eval()
    torch.testing.assert_close(tokens(pyramid), (raw - tokens.mean) / tokens.std)


def test_a_batch_is_that_of_all_processes(tmp_path):
    run_in_processes("reference.token_checks", "batch_of_all", 2, tmp_path)
