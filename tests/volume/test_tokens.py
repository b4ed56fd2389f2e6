import torch

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


def test_a_batch_norm_follows_the_slice_encoder_and_is_fitted_away(rng):
    pyramid, tokens = maps(rng, 50), TokenMap((3, 5), 4, batch_norm=True)
    plain = TokenMap((3, 5), 4)
    plain.linear.load_state_dict(tokens.linear.state_dict())
    with torch.no_grad():
        found = tokens.train()(pyramid)
        torch.testing.assert_close(found.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
        torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(4), rtol=0, atol=0.05)
        made = tokens.eval()(pyramid)
        assert not torch.allclose(made, plain(pyramid), atol=1e-3)  # its running statistics have moved
        torch.testing.assert_close(tokens.raw(made), plain(pyramid))
        torch.testing.assert_close(tokens.standardised(plain(pyramid)), made, rtol=0, atol=1e-4)
        raw = tokens.raw(made)
        tokens.fit_(made)
        again = tokens(pyramid)
    torch.testing.assert_close(again, tokens.standardised(raw), rtol=0, atol=1e-4)
    torch.testing.assert_close(again.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-5)
