import pytest
import torch

from medgraph.nn.sliding import sliding_window


@pytest.mark.parametrize("shape", [(9, 13, 17), (4, 20, 8)])
def test_a_pointwise_network_gives_the_same_as_at_once(shape, rng):
    x = torch.randn(1, 2, *shape, generator=rng)
    weight = torch.randn(3, 2, 1, 1, 1, generator=rng)
    network = lambda y: torch.nn.functional.conv3d(y, weight)  # noqa: E731
    torch.testing.assert_close(sliding_window(network, x, (8, 8, 8), 0.5), network(x), rtol=1e-4, atol=1e-5)


def test_no_window_is_larger_than_asked_for(rng):
    seen = []
    sliding_window(
        lambda y: seen.append(y.shape) or y, torch.randn(1, 1, 30, 20, 10, generator=rng), (8, 8, 8), 0.25, 2
    )
    assert {tuple(shape[2:]) for shape in seen} == {(8, 8, 8)}
    assert max(shape[0] for shape in seen) == 2
