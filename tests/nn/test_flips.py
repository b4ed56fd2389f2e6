import torch

from medgraph.nn import flips


def test_no_axis_gives_plain_logits(rng):
    x = torch.randn(2, 3, 4, 5, generator=rng)
    assert torch.equal(flips.averaged(lambda y: 2 * y, x, ()), 2 * x)


def test_the_mean_over_all_flips_follows_a_flipped_input(rng):
    x, weight = torch.randn(1, 2, 6, 6, 4, generator=rng), torch.randn(3, 2, 3, 3, 3, generator=rng)
    network = lambda y: torch.nn.functional.conv3d(y, weight, padding=1)  # noqa: E731
    once = flips.averaged(network, x, (0, 2))
    torch.testing.assert_close(flips.averaged(network, x.flip(4), (0, 2)), once.flip(4))
    four = [network(x), network(x.flip(2)).flip(2), network(x.flip(4)).flip(4), network(x.flip(2, 4)).flip(2, 4)]
    torch.testing.assert_close(once.exp(), torch.stack(four).softmax(dim=2).mean(dim=0))
    assert not torch.allclose(once.softmax(1), network(x).softmax(1))
